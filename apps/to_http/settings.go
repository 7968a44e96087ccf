package main

import (
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"math"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/millrace-mq/millrace/apps/internal/consume"
	"github.com/millrace-mq/millrace/apps/to_http/delivery"
	"github.com/millrace-mq/millrace/apps/to_http/endpoint"
	"github.com/millrace-mq/millrace/apps/to_http/pool"
	"github.com/millrace-mq/millrace/internal/program"
	"github.com/millrace-mq/millrace/internal/secure"
	"github.com/millrace-mq/millrace/protocol"
)

// settings are the flags. Where nsq_to_http has a flag of the same name, it means
// the same.
type settings struct {
	consume consume.Settings
	limited bool // max-in-flight was given

	get, post      program.Each
	headers        program.Each
	contentType    string
	mode           program.Choice
	concurrent     int
	connectTimeout time.Duration
	requestTimeout time.Duration
	tls            secure.ClientFiles
	tell           bool

	sample      float64
	batch       int
	batchFormat program.Choice
	batchWait   time.Duration

	requeueDelay    time.Duration
	maxRequeueDelay time.Duration
	maxBackoff      time.Duration
	onRefused       program.Choice
	letterTopic     string
	letterDaemons   program.Strings

	statusEvery int
	logs        program.LogSettings
}

const (
	drop       = "drop"
	deadLetter = "dead-letter"
	requeue    = "requeue"

	defaultContentType = "application/octet-stream"
)

func (s *settings) declare(fs *flag.FlagSet) {
	s.consume.Channel, s.consume.MaxInFlight = "to_http", 200
	s.consume.Declare(fs)
	s.mode = program.Choice{Value: "hostpool", Words: pool.Modes}
	s.onRefused = program.Choice{Value: deadLetter, Words: []string{deadLetter, drop, requeue}}
	s.batchFormat.Words = delivery.Formats
	s.tls.Prefix = "http-client-"

	fs.Var(&s.get, "get", "`URL` to GET for each message, with one %s where its body goes, escaped; only 200 is success."+
		" Time-outs of its own can follow: #request-timeout=5s&connect-timeout=1s (may be given several times)")
	fs.Var(&s.post, "post", "`URL` to POST each message's body to; any 2xx is success. Time-outs as for get (may be given several times)")
	fs.Var(&s.headers, "header", "`Name: value` to send with each request (may be given several times); what is secret is better kept in the environment or a config file")
	fs.StringVar(&s.contentType, "content-type", defaultContentType, "`type`: Content-Type of what is posted; application/json with a batch-format of JSON")
	fs.Var(&s.mode, "mode", "`mode` by which one of several URLs gets a message: hostpool (in turn, one that fails is left alone, longer each time), round-robin (in turn),"+
		" epsilon-greedy (mostly the fastest) or all (every one)")
	fs.IntVar(&s.concurrent, "n", 100, "`requests` at once, for each topic")
	fs.DurationVar(&s.connectTimeout, "http-client-connect-timeout", 2*time.Second, "longest time to connect, and for TLS")
	fs.DurationVar(&s.requestTimeout, "http-client-request-timeout", 20*time.Second, "longest time for a request until its answer, connecting included")
	fs.StringVar(&s.tls.RootCA, "http-client-tls-root-ca-file", "", "`file` with the certificates that sign the URLs' servers', PEM (default the system's)")
	fs.StringVar(&s.tls.Cert, "http-client-tls-cert", "", "`file` with the certificate that the URLs' servers are shown, PEM")
	fs.StringVar(&s.tls.Key, "http-client-tls-key", "", "`file` with its key, PEM")
	fs.BoolVar(&s.tls.SkipVerify, "http-client-tls-insecure-skip-verify", false, "believe any server")
	fs.BoolVar(&s.tell, "message-headers", true, "tell X-Millrace-Message-Id, -Topic, -Channel, -Attempts and -Timestamp (ns since 1970), so that the receiver can notice what comes twice")

	fs.Float64Var(&s.sample, "sample", 1, "`share` of the messages to send, picked at random, such as 0.01; others are finished unsent")
	fs.IntVar(&s.batch, "batch", 1, "most `messages` in a POST")
	fs.Var(&s.batchFormat, "batch-format", "`format` in which messages are put into a POST: newline behind each body, json-array of bodies that are JSON,"+
		" or json: an array of objects with id, timestamp, attempts, topic and body (body_base64 if it is not UTF-8) (default newline with a batch, otherwise just the body)")
	fs.DurationVar(&s.batchWait, "batch-wait", 100*time.Millisecond, "longest time that a message waits for others to share a POST with")

	fs.DurationVar(&s.requeueDelay, "requeue-delay", 5*time.Second, "when a message comes again that could not be sent, times its attempts")
	fs.DurationVar(&s.maxRequeueDelay, "max-requeue-delay", 5*time.Minute, "the longest such delay")
	fs.DurationVar(&s.maxBackoff, "max-backoff", time.Minute, "longest pause in taking messages while every URL fails; pauses begin with 1s and double")
	fs.Var(&s.onRefused, "on-refused", "`what` becomes of a message that is refused (4xx but 408, 425 and 429; a redirect of a POST by 301, 302 or 303):"+
		" dead-letter (it goes to dead-letter-topic), drop or requeue")
	fs.StringVar(&s.letterTopic, "dead-letter-topic", "", "`topic` for refused messages (default the topic's name and "+refusedSuffix+")")
	fs.Var(&s.letterDaemons, "dead-letter-qd-tcp-address", "`host:port` of a qd's TCP side for refused messages (may be given several times; default the one that a message came from)")

	fs.IntVar(&s.statusEvery, "status-every", 250, "log latencies after every so many `requests` to a URL; 0 is never")
	s.logs.Level = "info"
	s.logs.Flags(fs)
	program.ConfigFile(fs)
}

// sections are where --help lists the flags.
func sections() []program.Section {
	own := []program.Section{
		{Title: "Where to", Flags: []string{"get", "post", "mode", "header", "content-type", "message-headers", "n", "http-client-connect-timeout", "http-client-request-timeout",
			"http-client-tls-root-ca-file", "http-client-tls-cert", "http-client-tls-key", "http-client-tls-insecure-skip-verify"}},
		{Title: "How much at once", Flags: []string{"batch", "batch-format", "batch-wait", "sample"}},
		{Title: "When it fails", Flags: []string{"requeue-delay", "max-requeue-delay", "max-backoff", "on-refused", "dead-letter-topic", "dead-letter-qd-tcp-address"}},
	}
	return new(consume.Settings).Sections(own...)
}

// mostInFlight is how many messages a daemon gives a connection, unless it is set
// otherwise.
const mostInFlight = 2500

// fit makes max-in-flight large enough for the requests at once, if nobody has said what
// it is to be.
func (s *settings) fit() {
	if !s.limited {
		s.consume.MaxInFlight = max(s.consume.MaxInFlight, min(s.atOnce(), mostInFlight))
	}
}

// atOnce is how many messages can be in requests.
func (s *settings) atOnce() int {
	if s.batch > 0 && s.concurrent > math.MaxInt/s.batch {
		return math.MaxInt
	}
	return s.concurrent * s.batch
}

// check returns all that is wrong with the flags.
func (s *settings) check() error {
	errs := s.consume.Check()
	refuse := func(wrong bool, format string, args ...any) {
		if wrong {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	refuse(len(s.get)+len(s.post) == 0, "post or get: at least one is needed")
	refuse(len(s.get) > 0 && len(s.post) > 0, "post and get: give only one of them")
	refuse(len(s.get) > 0 && s.contentType != defaultContentType, "content-type: needs post, since a GET has no content")
	refuse(len(s.get) > 0 && (s.batch > 1 || s.batchFormat.Value != ""), "batch and batch-format: need post")
	refuse(s.concurrent < 1, "n %d: must be positive", s.concurrent)
	refuse(s.connectTimeout <= 0, "http-client-connect-timeout %s: must be positive", s.connectTimeout)
	refuse(s.requestTimeout <= 0, "http-client-request-timeout %s: must be positive", s.requestTimeout)
	refuse(!(s.sample > 0 && s.sample <= 1), "sample %v: must be above 0 and at most 1", s.sample)
	refuse(s.batch < 1, "batch %d: must be positive", s.batch)
	refuse(s.batch > s.consume.MaxInFlight && s.consume.MaxInFlight > 0, "batch %d: cannot be more than max-in-flight, which is %d", s.batch, s.consume.MaxInFlight)
	refuse(s.batchWait < 0, "batch-wait %s: must not be negative", s.batchWait)
	refuse(s.requeueDelay <= 0, "requeue-delay %s: must be positive", s.requeueDelay)
	refuse(s.maxRequeueDelay < s.requeueDelay, "max-requeue-delay %s: must be at least requeue-delay, which is %s", s.maxRequeueDelay, s.requeueDelay)
	refuse(s.maxBackoff < time.Second, "max-backoff %s: must be at least 1s", s.maxBackoff)
	refuse(s.statusEvery < 0, "status-every %d: must not be negative", s.statusEvery)
	refuse((s.tls.Cert == "") != (s.tls.Key == ""), "http-client-tls-cert and http-client-tls-key: give both or neither")
	return errors.Join(append(errs, s.checkLetters()...)...)
}

// format is what a POST's body is made of.
func (s *settings) format() (delivery.Format, error) {
	switch {
	case s.batchFormat.Value != "":
		return delivery.ParseFormat(s.batchFormat.Value)
	case s.batch > 1:
		return delivery.Newline, nil
	}
	return delivery.Raw, nil
}

// refusedSuffix makes the name of a topic that of its dead letters.
const refusedSuffix = ".refused"

func (s *settings) checkLetters() (errs []error) {
	if s.onRefused.Value != deadLetter {
		if s.letterTopic != "" || len(s.letterDaemons) > 0 {
			errs = append(errs, errors.New("dead-letter-topic and dead-letter-qd-tcp-address: need --on-refused=dead-letter"))
		}
		return errs
	}
	for _, a := range s.letterDaemons {
		if _, _, err := net.SplitHostPort(a); err != nil {
			errs = append(errs, fmt.Errorf("dead-letter-qd-tcp-address %q: must be host:port", a))
		}
	}
	if s.letterTopic != "" && !protocol.ValidName(s.letterTopic) {
		return append(errs, fmt.Errorf("dead-letter-topic %q: not a valid name", s.letterTopic))
	}
	for _, topic := range s.consume.Named() {
		if protocol.ValidName(topic) {
			_, err := s.lettersOf(topic)
			errs = append(errs, err)
		}
	}
	return errs
}

// lettersOf is the topic for what is refused of a topic's messages; "" if there
// is none. A topic of dead letters is consumed only by somebody who says what becomes of
// what is refused again, or it would go round forever.
func (s *settings) lettersOf(topic string) (string, error) {
	bare := strings.TrimSuffix(topic, "#ephemeral")
	switch {
	case s.onRefused.Value != deadLetter:
		return "", nil
	case topic == s.letterTopic && len(s.letterDaemons) == 0:
		return "", fmt.Errorf("topic %s: is the dead-letter-topic, too: refused messages would come again and again", topic)
	case s.letterTopic != "":
		return s.letterTopic, nil
	case strings.HasSuffix(bare, refusedSuffix):
		return "", fmt.Errorf("topic %s: has what was refused once: say with --dead-letter-topic or --on-refused what becomes of what is refused again", topic)
	case !protocol.ValidName(bare + refusedSuffix):
		return "", fmt.Errorf("topic %s: is too long for its dead letters to be called %s%s: give --dead-letter-topic", topic, bare, refusedSuffix)
	}
	return bare + refusedSuffix, nil
}

// endpoints makes the endpoints that the flags name.
func (s *settings) endpoints(format delivery.Format, log *slog.Logger) (all []*endpoint.Endpoint, err error) {
	c := endpoint.Config{
		Method: http.MethodPost, ContentType: s.contentType, UserAgent: userAgent,
		ConnectTimeout: s.connectTimeout, RequestTimeout: s.requestTimeout,
	}
	if s.contentType == defaultContentType {
		c.ContentType = format.ContentType()
	}
	urls, flag := s.post, "post"
	if len(s.get) > 0 {
		urls, flag, c.Method = s.get, "get", http.MethodGet
	}
	var errs []error
	if c.Header, err = parseHeaders(s.headers); err != nil {
		errs = append(errs, err)
	}
	config, err := secure.Client(s.tls, log)
	if err != nil {
		return nil, errors.Join(append(errs, err)...)
	}
	c.TLS = config("")
	seen := make(map[string]bool)
	for i, text := range urls {
		e, err := endpoint.New(text, c)
		switch {
		case err != nil:
			errs = append(errs, fmt.Errorf("%s (number %d): %w", flag, i+1, err))
		case seen[text]:
			errs = append(errs, fmt.Errorf("%s %s: is given twice", flag, e.Name()))
		}
		seen[text] = true
		all = append(all, e)
	}
	return all, errors.Join(errs...)
}

// delivery makes what brings messages to endpoints.
func (s *settings) delivery(endpoints []*endpoint.Endpoint, format delivery.Format, on func(string, time.Duration, endpoint.Result), log *slog.Logger) (*delivery.Delivery, error) {
	mode, err := pool.ParseMode(s.mode.Value)
	if err != nil {
		return nil, err
	}
	c := delivery.Config{Mode: mode, Format: format, Headers: s.tell, Random: rand.Float64, OnRequest: on, Log: log}
	for _, e := range endpoints {
		c.Endpoints = append(c.Endpoints, e)
	}
	return delivery.New(c), nil
}
