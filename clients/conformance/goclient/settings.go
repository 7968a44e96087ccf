package goclient

import (
	"crypto/tls"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"time"

	millrace "github.com/millrace-mq/millrace/clients/go"
	"github.com/millrace-mq/millrace/clients/go/spool"
)

// set fills the fields of a configuration from settings: max_in_flight is
// MaxInFlight. Python's zero, which is none, is a negative here, where zero is
// the default.
func set(config any, settings map[string]string) error {
	for key, value := range settings {
		field := reflect.ValueOf(config).Elem().FieldByName(fieldName(key))
		if !field.IsValid() {
			return fmt.Errorf("there is no setting %s", key)
		}
		if err := setField(field, value); err != nil {
			return fmt.Errorf("%s=%s: %w", key, value, err)
		}
	}
	return nil
}

func fieldName(key string) string {
	var name strings.Builder
	for part := range strings.SplitSeq(key, "_") {
		switch part {
		case "tls", "id":
			name.WriteString(strings.ToUpper(part))
		default:
			name.WriteString(strings.ToUpper(part[:1]) + part[1:])
		}
	}
	return name.String()
}

func setField(field reflect.Value, value string) (err error) {
	switch to := field.Addr().Interface().(type) {
	case *string:
		*to = value
	case *[]string:
		*to = strings.Split(value, ",")
	case *bool:
		*to, err = strconv.ParseBool(value)
	case *int:
		*to, err = strconv.Atoi(value)
	case *uint16:
		var n uint64
		n, err = strconv.ParseUint(value, 10, 16)
		*to = uint16(n)
	case *time.Duration:
		if *to, err = time.ParseDuration(value); *to == 0 {
			*to = -1
		}
	case *millrace.Compression:
		*to = map[string]millrace.Compression{"snappy": millrace.Snappy, "deflate": millrace.Deflate}[value]
	case *millrace.Start:
		*to = map[string]millrace.Start{"earliest": millrace.StartEarliest}[value]
	case *millrace.Spool:
		*to, err = spool.Open(spool.Config{Dir: value})
	case **tls.Config:
		// #nosec G402 -- only if the operator asks for it, and said so in the flag's name
		*to = &tls.Config{InsecureSkipVerify: value == "unverified"}
	default:
		err = fmt.Errorf("a setting of type %s cannot be set", field.Type())
	}
	return err
}
