// To_http sends the messages of topics to HTTP endpoints, one by one or in batches. A
// message is finished when an endpoint has taken it, comes again when none could be
// reached, and is put aside when it was refused.
package main

import (
	"context"
	"errors"
	"flag"
	"io"
	"log"
	"log/slog"
	"time"

	"github.com/millrace-mq/millrace/apps/internal/consume"
	"github.com/millrace-mq/millrace/apps/to_http/delivery"
	"github.com/millrace-mq/millrace/apps/to_http/endpoint"
	millrace "github.com/millrace-mq/millrace/clients/go"
	"github.com/millrace-mq/millrace/internal/program"
)

// itself is what the program says of itself.
var itself = program.Program{
	Name:     "to_http",
	Synopsis: "send the messages of topics to HTTP endpoints",
	About: `Each message is one request: a POST whose content is the body, byte for byte, or a GET with the body in the URL. With --batch a POST has several.

A message is finished when it was answered with success: 2xx for POST, 200 for GET. It comes again, later each time, after a time-out, a broken connection, 5xx, 408, 425 or 429; how long a server asks to be left alone with Retry-After is respected, up to 15 minutes. While every URL fails, no messages are taken but one now and then to see whether that is over.

Any other 4xx would be answered the same again. Such a message is put into a topic of its own, TOPIC.refused, on the daemon that it came from, where it stays until somebody consumes that topic; --on-refused has other ways. A batch that is refused because of what is in it is sent in halves, and those in halves, until the message is found.

With several URLs a message goes to one of them, and to the next when that fails. With --mode=all it goes to all, and is finished when all have it; one that has it is not sent it again while the program runs. A receiver that must not do a thing twice can tell by X-Millrace-Message-Id: whatever is tried again may have arrived before.

A POST that is redirected with 307 or 308 is sent there; 301, 302 and 303 would lose the body, and count as refused. A GET follows all of them. Proxies are taken from HTTP_PROXY, HTTPS_PROXY and NO_PROXY.`,
	Examples: []program.Example{
		{Does: "POST every message", Command: "to_http --topic=test --lookupd-http-address=127.0.0.1:4161 --post=http://127.0.0.1:8080/messages"},
		{Does: "GET a URL with the body in it", Command: "to_http --topic=test --lookupd-http-address=127.0.0.1:4161 --get='http://127.0.0.1:8080/messages?body=%s'"},
		{Does: "a hundred JSON messages in each POST, as an array", Command: "to_http --topic=test --lookupd-http-address=127.0.0.1:4161 --post=http://127.0.0.1:8080/messages --batch=100 --batch-format=json-array"},
		{Does: "two servers, the second with more time, and a key from the environment", Command: "TO_HTTP_HEADER='Authorization: Bearer KEY' to_http --topic=test --lookupd-http-address=127.0.0.1:4161 \\\n  --post=http://127.0.0.1:8080/messages --post='http://127.0.0.1:8081/messages#request-timeout=1m'"},
		{Does: "send again what was refused, once the receiver is mended", Command: "to_http --topic=test.refused --on-refused=requeue --lookupd-http-address=127.0.0.1:4161 --post=http://127.0.0.1:8080/messages"},
	},
	Sections: sections(),
	Setup:    setup,
}

func main() {
	itself.Main()
}

func setup(fs *flag.FlagSet, std program.Stdio) func(context.Context) error {
	var s settings
	s.declare(fs)
	return func(ctx context.Context) error {
		fs.Visit(func(f *flag.Flag) { s.limited = s.limited || f.Name == "max-in-flight" })
		s.fit()
		logger, _, err := program.Logger(std.Err, s.logs)
		if err != nil {
			return errors.Join(err, s.check())
		}
		// net/http logs what servers send unasked for, on the default logger.
		log.SetOutput(io.Discard)
		return s.run(ctx, logger)
	}
}

func (s *settings) run(ctx context.Context, log *slog.Logger) error {
	err := s.check()
	format, wrong := s.format()
	endpoints, bad := s.endpoints(format, log)
	if err = errors.Join(err, wrong, bad); err != nil {
		return err
	}
	r := newReport(s.statusEvery, log)
	d, err := s.delivery(endpoints, format, r.request, log)
	if err != nil {
		return err
	}
	l := &letters{to: s.letterDaemons, link: &s.consume.Link, userAgent: userAgent, log: log}
	var c counts
	slowest := time.Duration(0)
	for _, e := range endpoints {
		slowest = max(slowest, e.Timeout())
		defer e.Close()
	}
	err = s.consume.Run(ctx, log, func(topic string) (consume.Stream, error) {
		return s.stream(&stream{topic: topic, delivery: d, letters: l, counts: &c, report: r, log: log}, slowest)
	})
	log.Info("ended", c.attributes()...)
	return errors.Join(err, l.close())
}

var userAgent = "to_http/" + program.Version

// stream completes a stream. slowest is the longest time that a request may take.
func (s *settings) stream(st *stream, slowest time.Duration) (*stream, error) {
	var err error
	if st.letterTopic, err = s.lettersOf(st.topic); err != nil {
		return nil, err
	}
	cfg, err := s.reader(st.topic, slowest, st.log)
	if err != nil {
		return nil, err
	}
	cfg.BatchHandler = st
	cfg.OnGiveUp = millrace.HandlerFunc(st.giveUp)
	st.channel, st.sample, st.onRefused = cfg.Channel, s.sample, s.onRefused.Value
	st.delay, st.longest = cfg.RequeueDelay, cfg.MaxRequeueDelay
	st.reader, err = millrace.NewReader(cfg)
	return st, err
}

// reader is how a topic's messages are read.
func (s *settings) reader(topic string, slowest time.Duration, log *slog.Logger) (millrace.ReaderConfig, error) {
	cfg, err := s.consume.Reader(topic, userAgent, log)
	if cfg.RequeueDelay == 0 {
		cfg.RequeueDelay = s.requeueDelay
	}
	if cfg.MaxRequeueDelay == 0 {
		cfg.MaxRequeueDelay = s.maxRequeueDelay
	}
	if cfg.MaxBackoff == 0 {
		cfg.MaxBackoff = s.maxBackoff
	}
	if cfg.MaxAttempts > 0 && s.onRefused.Value == requeue {
		// Given up, a message would come again for ever, without being sent any more.
		log.Warn("max_attempts has no effect with --on-refused=requeue", "topic", topic)
		cfg.MaxAttempts = 0
	}
	// What has to wait for a slow endpoint waits at the daemon, where it does not time out.
	cfg.MaxInFlight = min(cfg.MaxInFlight, s.atOnce())
	cfg.Concurrency, cfg.BatchSize = min(s.concurrent, cfg.MaxInFlight), s.batch
	if s.batch > 1 {
		cfg.BatchWait = s.batchWait
	}
	// A request that was begun is waited for, and a dead letter after it.
	cfg.ShutdownTimeout = slowest + letterTimeout
	return cfg, err
}

var _ delivery.Endpoint = (*endpoint.Endpoint)(nil)
