package queue
import ("fmt";"os")
var tracing = os.Getenv("TRACE") != ""
func (l *logLife) tr(f string, a ...any) { if tracing { fmt.Printf(f+"\n", a...) } }
