module github.com/millrace-mq/millrace

go 1.26.0

require (
	github.com/golang/snappy v1.0.0
	github.com/julienschmidt/httprouter v1.3.0
	github.com/klauspost/compress v1.20.3
	github.com/nsqio/go-diskqueue v1.1.0
	go.uber.org/goleak v1.3.0
)

require github.com/BurntSushi/toml v1.6.0
