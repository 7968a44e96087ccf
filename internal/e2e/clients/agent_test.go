package clients

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"
)

// agent is Python's client: a process that does what requests say.
type agent struct {
	form    string // python or asyncio
	process *os.Process

	write sync.Mutex // of a whole request
	stdin io.Writer

	mu      sync.Mutex // guards what follows
	numbers int        // of requests, Writers and Readers
	answers map[int]chan agentAnswer
	dones   map[int]*dones
	readers map[int]*agentReader
	gone    error // why it answers no more
	said    bytes.Buffer
}

// dones are the outcomes of asynchronous publishes that were not told yet.
type dones struct {
	left int
	done func(i int, err error)
}

// agentError is an error of the client's, as it was told of.
type agentError struct{ Kind, Text string }

func (e *agentError) Error() string { return e.Text }

func (e *agentError) outcome() outcome { return outcome(slices.Index(outcomeNames[:], e.Kind)) }

type agentAnswer struct {
	ID     *int            `json:"id"`
	Error  *agentError     `json:"error"`
	Result json.RawMessage `json:"result"`

	Done []json.RawMessage `json:"done"` // request, index, error

	Number   int            `json:"number"`
	Messages []agentMessage `json:"messages"`
}

type agentMessage struct {
	delivery
	Name string `json:"name"`
}

// python returns the interpreter, or skips the test where there is none.
func python(t *testing.T) string {
	t.Helper()
	program := os.Getenv("PYTHON")
	if program == "" {
		program = "python3"
	}
	err := exec.Command(program, "-c", "import sys; sys.exit(sys.version_info < (3, 10))").Run()
	if err != nil && os.Getenv("CI") == "true" {
		t.Fatalf("%s, 3.10 or later: %v", program, err)
	}
	if err != nil {
		t.Skip("skipped: Python's client needs python3, 3.10 or later")
	}
	return program
}

// newAgent starts an agent, which ends with the test.
func newAgent(t *testing.T, useAsyncio bool) *agent {
	t.Helper()
	a := &agent{form: "python", answers: map[int]chan agentAnswer{}, dones: map[int]*dones{}, readers: map[int]*agentReader{}}
	args := []string{"-u", "agent.py"}
	if useAsyncio {
		a.form, args = "asyncio", append(args, "--asyncio")
	}
	cmd := exec.Command(python(t), args...)
	cmd.Env = append(os.Environ(), "PYTHONPATH=../../../clients/python", "PYTHONDONTWRITEBYTECODE=1")
	cmd.Stderr = a
	stdin, err := cmd.StdinPipe()
	must(t, err)
	stdout, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	a.stdin, a.process = stdin, cmd.Process
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		a.listen(stdout)
		_ = cmd.Wait() // it is told to end, or killed
	}()
	t.Cleanup(func() {
		_ = stdin.Close()
		select {
		case <-ended:
		case <-time.After(patience):
			t.Errorf("%s did not end", a)
		}
		_ = cmd.Process.Kill()
		<-ended
		if t.Failed() {
			t.Logf("%s said\n%s", a, tail(a.last(), 30))
		}
	})
	return a
}

func (a *agent) String() string { return a.form }
func (a *agent) pid() string    { return strconv.Itoa(a.process.Pid) }

// hasSnappy says whether there is one of the packages that Python's client can
// compress with; the standard library has none.
func (a *agent) hasSnappy() bool {
	result, err := a.ask("snappy", map[string]any{}, nil)
	return err == nil && string(result) == "true"
}

// Write takes what the process says on standard error.
func (a *agent) Write(b []byte) (int, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.said.Write(b)
}

func (a *agent) last() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.said.String()
}

// listen takes what the process says until it ends.
func (a *agent) listen(stdout io.Reader) {
	lines := bufio.NewScanner(stdout)
	lines.Buffer(nil, 64<<20)
	for lines.Scan() {
		var said agentAnswer
		if err := json.Unmarshal(lines.Bytes(), &said); err != nil {
			_, _ = a.Write(append(lines.Bytes(), '\n'))
			continue
		}
		a.hear(said)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.gone = errors.New("the agent has ended")
	for id, waits := range a.answers {
		delete(a.answers, id)
		waits <- agentAnswer{Error: &agentError{"strange", a.gone.Error()}}
	}
}

func (a *agent) hear(said agentAnswer) {
	a.mu.Lock()
	var waits chan agentAnswer
	var done *dones
	reader := a.readers[said.Number]
	var number, index int
	switch {
	case said.ID != nil:
		waits = a.answers[*said.ID]
		delete(a.answers, *said.ID)
	case said.Done != nil:
		_, _ = json.Unmarshal(said.Done[0], &number), json.Unmarshal(said.Done[1], &index)
		if done = a.dones[number]; done != nil {
			if done.left--; done.left == 0 {
				delete(a.dones, number)
			}
		}
	}
	a.mu.Unlock()
	switch {
	case waits != nil:
		waits <- said
	case done != nil:
		var told *agentError
		_ = json.Unmarshal(said.Done[2], &told)
		done.done(index, told.asError())
	case reader != nil:
		for _, m := range said.Messages {
			m.answer = func(how string, delay time.Duration) {
				a.say(map[string]any{"op": "answer", "message": m.Name, "how": how, "delay": delay.Seconds()})
			}
			reader.came <- &m.delivery
		}
	}
}

// asError is nil for nil, which an *agentError in an error is not.
func (e *agentError) asError() error {
	if e == nil {
		return nil
	}
	return e
}

// say sends a request.
func (a *agent) say(request any) {
	text, err := json.Marshal(request)
	if err != nil {
		panic(err) // it is made here
	}
	a.write.Lock()
	defer a.write.Unlock()
	_, _ = a.stdin.Write(append(text, '\n')) // if it is gone, listen says so
}

// number is a new one.
func (a *agent) number() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.numbers++
	return a.numbers
}

// ask sends a request and waits for its answer. expect, if it is not nil,
// are the outcomes that will be told beside it.
func (a *agent) ask(op string, args map[string]any, expect *dones) (json.RawMessage, error) {
	id, waits := a.number(), make(chan agentAnswer, 1)
	a.mu.Lock()
	gone := a.gone
	if gone == nil {
		a.answers[id] = waits
		if expect != nil {
			a.dones[id] = expect
		}
	}
	a.mu.Unlock()
	if gone != nil {
		return nil, gone
	}
	args["id"], args["op"] = id, op
	a.say(args)
	said := <-waits
	return said.Result, said.Error.asError()
}

// fields are a struct's as a request has them.
func fields(of any) map[string]any {
	text, err := json.Marshal(of)
	args := map[string]any{}
	if err = errors.Join(err, json.Unmarshal(text, &args)); err != nil {
		panic(err) // it is declared here
	}
	args["lookup_interval"] = lookupInterval.Seconds()
	return args
}

// objects is how many objects the interpreter has after a collection.
func (a *agent) objects(t *testing.T) int {
	t.Helper()
	result, err := a.ask("census", map[string]any{}, nil)
	must(t, err)
	n, err := strconv.Atoi(string(result))
	must(t, err)
	return n
}

type agentWriter struct {
	*agent
	at int
}

func (a *agent) writer(t *testing.T, s writerSettings) writer {
	t.Helper()
	w := agentWriter{a, a.number()}
	args := fields(s)
	args["number"], args["spool_after"] = w.at, spoolAfter.Seconds()
	_, err := a.ask("writer", args, nil)
	must(t, err)
	return w
}

func (w agentWriter) publish(timeout time.Duration, topic string, bodies ...[]byte) error {
	_, err := w.ask("publish", map[string]any{"number": w.at, "topic": topic, "bodies": bodies, "timeout": timeout.Seconds()}, nil)
	return err
}

func (w agentWriter) publishDeferred(timeout time.Duration, topic string, delay time.Duration, body []byte) error {
	_, err := w.ask("publish", map[string]any{
		"number": w.at, "topic": topic, "bodies": [][]byte{body}, "delay": delay.Seconds(), "timeout": timeout.Seconds(),
	}, nil)
	return err
}

func (w agentWriter) publishAsync(topic string, bodies [][]byte, done func(int, error)) {
	w.async(topic, bodies, false, len(bodies), done)
}

func (w agentWriter) publishManyAsync(topic string, bodies [][]byte, done func(error)) {
	w.async(topic, bodies, true, 1, func(_ int, err error) { done(err) })
}

// async publishes, and returns when the agent says that it has; so many outcomes
// are told then or later.
func (w agentWriter) async(topic string, bodies [][]byte, many bool, outcomes int, done func(int, error)) {
	_, _ = w.ask("publish_async", map[string]any{"number": w.at, "topic": topic, "bodies": bodies, "many": many}, &dones{outcomes, done})
}

func (w agentWriter) flush(timeout time.Duration) error {
	_, err := w.ask("flush", map[string]any{"number": w.at, "timeout": timeout.Seconds()}, nil)
	return err
}

func (w agentWriter) close() error {
	_, err := w.ask("close", map[string]any{"number": w.at}, nil)
	return err
}

type agentReader struct {
	*agent
	at      int
	came    chan *delivery
	closing sync.Once
	err     error
}

func (a *agent) reader(t *testing.T, s readerSettings) reader {
	t.Helper()
	r := &agentReader{agent: a, at: a.number(), came: make(chan *delivery, room)}
	a.mu.Lock()
	a.readers[r.at] = r
	a.mu.Unlock()
	args := fields(s)
	args["number"], args["requeue_delay"] = r.at, requeueDelay.Seconds()
	_, err := a.ask("reader", args, nil)
	must(t, err)
	t.Cleanup(func() { _ = r.close() })
	return r
}

func (r *agentReader) deliveries() <-chan *delivery { return r.came }

func (r *agentReader) close() error {
	r.closing.Do(func() {
		if _, r.err = r.ask("close", map[string]any{"number": r.at}, nil); r.err != nil {
			r.err = fmt.Errorf("closing a reader of %s: %w", r.agent, r.err)
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		delete(r.readers, r.at)
	})
	return r.err
}
