package millrace

import (
	"errors"
	"fmt"
	"time"

	"github.com/millrace-mq/millrace/protocol"
)

// ReaderConfig says how a Reader works. Topic, Channel, and either Addresses or
// Lookupds must be set, and so must one of Handler and BatchHandler, unless
// messages are pulled with Reader.Messages.
type ReaderConfig struct {
	Topic, Channel string

	// Addresses are the TCP addresses (host:port) of queue daemons, all of
	// which are consumed from. Those that lookupds list are added to them.
	Addresses []string

	// Lookupds are HTTP addresses of lookup daemons, as host:port or as a URL.
	// All are asked at once, then every LookupInterval (0 stands for 60 s;
	// varied by a tenth, so that many readers do not ask together). A daemon
	// that none lists any more is forgotten once its connection has ended; a
	// lookupd that does not answer counts for what it said last.
	Lookupds       []string
	LookupInterval time.Duration

	// MaxInFlight is how many messages may be delivered and unanswered, over
	// all connections. 0 stands for 200. It goes to those that have traffic, evenly;
	// an idle connection keeps one, or, if they are too many for that, gets one in
	// turns, so that a message waits for about a second at most while handlers
	// are free. It can be exceeded for a moment when credit moves between connections.
	MaxInFlight int

	// Concurrency is how many handlers run at once; 0 stands for 1. With 1, the
	// messages of one daemon are handled in the order in which they came.
	Concurrency int

	Handler      Handler
	BatchHandler BatchHandler

	// BatchSize is the most messages that a BatchHandler is given at once; 0
	// stands for 200. It waits for no company, unless BatchWait says how long:
	// then a batch is handed over when it is full, when the daemons that have sent
	// something have no more than an eighth of their credit left, or when its first
	// message has waited for so long, or for half of the daemon's message timeout.
	BatchSize int
	BatchWait time.Duration

	// OnIdle, if set, is called when messages have been handled and no more are
	// waiting: because the channel is empty, or because all credit is taken by
	// messages that were not answered yet. It is called again only after
	// another message was handled, and one last time when Run ends, after the
	// last handler and before kept messages are waited for. Calls never overlap
	// each other, nor, if Concurrency is 1, a handler.
	OnIdle func()

	// A message whose handler failed comes back after RequeueDelay × attempts,
	// MaxRequeueDelay at most. 0 stands for 5 s and 5 min; below zero, for at once.
	RequeueDelay, MaxRequeueDelay time.Duration

	// MaxBackoff, if not 0, has the whole Reader pause after a handler's failure,
	// as NSQ's clients do: for Backoff (0 stands for 1 s), twice as long after each
	// further failure, MaxBackoff at most. Then it takes one message at a time until as
	// many have succeeded as had failed. What was delivered before a pause is handled
	// in it, and does not lengthen it. Only what handlers return counts.
	Backoff, MaxBackoff time.Duration

	// MaxAttempts, if not 0, is how often a message is handled. One delivered more
	// often is given to OnGiveUp, if that is set, and finished when that returns
	// nil, otherwise requeued. Without OnGiveUp it is logged and finished. Of a batch,
	// such messages go to OnGiveUp one by one before the others are handled.
	MaxAttempts uint16
	OnGiveUp    Handler

	// TouchFor is for how long after its delivery a message whose handler still
	// runs is kept with TOUCH, which is said at half of the daemon's message timeout,
	// as far as the daemon's longest allows; 0 stands for as long as it allows (15 min);
	// below zero, messages are never touched. A loop over Messages counts as the
	// handler of the one that it has, until it asks for the next.
	TouchFor time.Duration

	// ShutdownTimeout is how long Run waits, once its context has ended, for
	// handlers, for messages kept with ErrAnswerLater, and for daemons to say
	// goodbye. Then it cancels the handlers' context and closes. 0 stands for
	// 10 s.
	ShutdownTimeout time.Duration

	MsgTimeout time.Duration // asked of the daemon, at least 1 s; 0 leaves it to the daemon (60 s)
	SampleRate int           // percent of messages to receive, 1 to 99; 0 stands for all

	// OutputBufferTimeout is for how long a daemon may hold a message back that
	// leaves credit unused, to send it with others, at least 1 ms. 0 stands for 25 ms,
	// the shortest that an nsqd allows unless it is set otherwise; below zero leaves it
	// to the daemon (250 ms). A daemon refuses a Reader that asks for what it does not
	// allow. Millrace's daemons hold nothing back.
	OutputBufferTimeout time.Duration

	// Start says where a channel begins that this Reader's subscribing makes. Only
	// Millrace's daemons know StartEarliest; on others it has no effect, which is
	// logged, once a connection.
	Start Start

	// StartAt, if set, says the same of one daemon, in words that Seek knows; "" leaves it
	// to Start. It is called before each attempt to connect to the daemon; refused is why
	// the daemon would not subscribe at the place of the last one, and nil if it was not asked,
	// or did. A program that makes an ephemeral channel can so go on where it was. Calls
	// for different daemons overlap.
	StartAt func(address string, refused error) string

	// OnHandled, if set, is told of each message, or batch, that was handled or
	// given to OnGiveUp. Calls overlap if Concurrency is above 1.
	OnHandled func(Handled)

	Connection
}

func (c *ReaderConfig) complete() error {
	var errs []error
	if !protocol.ValidName(c.Topic) {
		errs = append(errs, fmt.Errorf("topic %q is not a valid name", c.Topic))
	}
	if !protocol.ValidName(c.Channel) {
		errs = append(errs, fmt.Errorf("channel %q is not a valid name", c.Channel))
	}
	if len(c.Addresses)+len(c.Lookupds) == 0 {
		errs = append(errs, errors.New("neither an address nor a lookupd is given"))
	}
	if c.Handler != nil && c.BatchHandler != nil {
		errs = append(errs, errors.New("both a Handler and a BatchHandler are given"))
	}
	if c.SampleRate < 0 || c.SampleRate > 99 {
		errs = append(errs, fmt.Errorf("SampleRate: %d not in 0-99", c.SampleRate))
	}
	if c.Start > StartEarliest {
		errs = append(errs, fmt.Errorf("Start: %d is none of StartLatest and StartEarliest", c.Start))
	}
	errs = append(errs, checkAddresses(c.Addresses)...)
	errs = append(errs, setDefault("LookupInterval", &c.LookupInterval, time.Minute))
	errs = append(errs, setDefault("MaxInFlight", &c.MaxInFlight, 200))
	errs = append(errs, setDefault("Concurrency", &c.Concurrency, 1))
	errs = append(errs, setDefault("BatchSize", &c.BatchSize, 200))
	errs = append(errs, setDefault("BatchWait", &c.BatchWait, 0))
	errs = append(errs, setDefault("Backoff", &c.Backoff, time.Second))
	errs = append(errs, setDefault("MaxBackoff", &c.MaxBackoff, 0))
	errs = append(errs, setDefault("ShutdownTimeout", &c.ShutdownTimeout, 10*time.Second))
	errs = append(errs, c.Connection.complete())
	errs = append(errs, checkInterval("MsgTimeout", c.MsgTimeout))
	if c.OutputBufferTimeout == 0 {
		c.OutputBufferTimeout = 25 * time.Millisecond
	}
	if c.OutputBufferTimeout > 0 && c.OutputBufferTimeout < time.Millisecond {
		errs = append(errs, fmt.Errorf("OutputBufferTimeout: %v must be at least 1ms", c.OutputBufferTimeout))
	}
	if c.RequeueDelay == 0 {
		c.RequeueDelay = 5 * time.Second
	}
	if c.MaxRequeueDelay == 0 {
		c.MaxRequeueDelay = 5 * time.Minute
	}
	return errors.Join(errs...)
}

func (c *ReaderConfig) dialer() dialer {
	d := c.Connection.dialer()
	d.identify.MsgTimeout = int(c.MsgTimeout / time.Millisecond)
	d.identify.OutputBufferTimeout = int(max(c.OutputBufferTimeout, 0) / time.Millisecond)
	// #nosec G115 -- Validate has it from 0 to 99
	d.identify.SampleRate = int32(c.SampleRate)
	if c.Start == StartEarliest {
		d.identify.Extension = &protocol.ExtensionRequest{ChannelStart: protocol.PlaceEarliest}
	}
	d.subscribe = protocol.AppendSub(nil, c.Topic, c.Channel)
	return d
}
