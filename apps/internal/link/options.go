package link

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	millrace "github.com/millrace-mq/millrace/clients/go"
	"github.com/millrace-mq/millrace/internal/secure"
)

// target is what NSQ's options are set on: one of reader and writer.
type target struct {
	connection *millrace.Connection
	reader     *millrace.ReaderConfig
	writer     *millrace.WriterConfig

	tls        bool
	files      secure.ClientFiles
	minVersion uint16
	idle       []string // options that have no effect
}

// An option is one of go-nsq's, and what it does here. The names, and the values that
// they take, are those of nsq.Config.Set.
type option func(t *target, value string) error

var options = map[string]option{
	"tls_v1":                   boolean(func(t *target, v bool) { t.tls = v }),
	"tls_root_ca_file":         text(func(t *target, v string) { t.files.RootCA = v }),
	"tls_cert":                 text(func(t *target, v string) { t.files.Cert = v }),
	"tls_key":                  text(func(t *target, v string) { t.files.Key = v }),
	"tls_insecure_skip_verify": boolean(func(t *target, v bool) { t.files.SkipVerify = v }),
	"tls_min_version":          minVersion,

	"auth_secret":     text(func(t *target, v string) { t.connection.AuthSecret = v }),
	"deflate":         boolean(func(t *target, v bool) { t.compress(millrace.Deflate, v) }),
	"snappy":          boolean(func(t *target, v bool) { t.compress(millrace.Snappy, v) }),
	"deflate_level":   number(1, 9, func(t *target, v int) { t.connection.DeflateLevel = v }),
	"client_id":       text(func(t *target, v string) { t.connection.ClientID = v }),
	"hostname":        text(func(t *target, v string) { t.connection.Hostname = v }),
	"user_agent":      text(func(t *target, v string) { t.connection.UserAgent = v }),
	"topology_region": text(func(t *target, v string) { t.connection.Region = v }),
	"topology_zone":   text(func(t *target, v string) { t.connection.Zone = v }),

	"dial_timeout":       duration(func(t *target, v time.Duration) { t.connection.DialTimeout = v }),
	"write_timeout":      duration(func(t *target, v time.Duration) { t.connection.WriteTimeout = v }),
	"heartbeat_interval": duration(func(t *target, v time.Duration) { t.connection.HeartbeatInterval = v }),

	"lookupd_poll_interval": duration(func(t *target, v time.Duration) {
		if t.reader != nil {
			t.reader.LookupInterval = v
		} else {
			t.writer.LookupInterval = v
		}
	}),

	"max_in_flight":         ofReader(number(1, math.MaxInt32, func(t *target, v int) { t.reader.MaxInFlight = v })),
	"max_attempts":          ofReader(number(0, math.MaxUint16, func(t *target, v int) { t.reader.MaxAttempts = uint16(v) })),
	"sample_rate":           ofReader(number(0, 99, func(t *target, v int) { t.reader.SampleRate = v })),
	"msg_timeout":           ofReader(duration(func(t *target, v time.Duration) { t.reader.MsgTimeout = v })),
	"default_requeue_delay": ofReader(duration(func(t *target, v time.Duration) { t.reader.RequeueDelay = v })),
	"max_requeue_delay":     ofReader(duration(func(t *target, v time.Duration) { t.reader.MaxRequeueDelay = v })),
	"output_buffer_timeout": ofReader(duration(func(t *target, v time.Duration) { t.reader.OutputBufferTimeout = v })),
	"max_backoff_duration":  ofReader(duration(func(t *target, v time.Duration) { t.reader.MaxBackoff = v })),
	"backoff_multiplier":    ofReader(duration(func(t *target, v time.Duration) { t.reader.Backoff = v })),

	// What they are for is done in another way, or not needed.
	"backoff_strategy":          nil,
	"local_addr":                nil,
	"lookupd_authorization":     nil,
	"lookupd_poll_jitter":       nil,
	"lookupd_poll_timeout":      nil,
	"low_rdy_idle_timeout":      nil,
	"low_rdy_timeout":           nil,
	"output_buffer_size":        nil,
	"rdy_redistribute_interval": nil,
	"read_timeout":              nil,
	"skip_lookupd":              nil,
}

// set sets an option given as "name,value"; a name alone means true.
func (t *target) set(text string) error {
	name, value, given := strings.Cut(text, ",")
	name = strings.ReplaceAll(strings.TrimSpace(name), "-", "_")
	if !given {
		value = "true"
	}
	o, ok := options[name]
	switch {
	case !ok:
		return fmt.Errorf("there is no such option: it must be one of %s", strings.Join(slices.Sorted(maps.Keys(options)), ", "))
	case o == nil:
		t.idle = append(t.idle, name)
		return nil
	}
	return o(t, strings.TrimSpace(value))
}

func (t *target) compress(kind millrace.Compression, use bool) {
	if use {
		t.connection.Compression = kind
	} else if t.connection.Compression == kind {
		t.connection.Compression = millrace.None
	}
}

// ofReader is o for programs that consume; elsewhere it has no effect.
func ofReader(o option) option {
	return func(t *target, value string) error {
		if t.reader == nil {
			t.reader = new(millrace.ReaderConfig)
			defer func() { t.reader = nil }()
		}
		return o(t, value)
	}
}

func text(set func(*target, string)) option {
	return func(t *target, value string) error {
		set(t, value)
		return nil
	}
}

func boolean(set func(*target, bool)) option {
	return func(t *target, value string) error {
		v, err := strconv.ParseBool(value)
		if err != nil {
			return errors.New("the value must be true or false")
		}
		set(t, v)
		return nil
	}
}

func number(least, most int, set func(*target, int)) option {
	return func(t *target, value string) error {
		v, err := strconv.Atoi(value)
		if err != nil || v < least || v > most {
			return fmt.Errorf("the value must be a whole number from %d to %d", least, most)
		}
		set(t, v)
		return nil
	}
}

// duration takes what time.ParseDuration does or, as NSQ, a number of milliseconds.
func duration(set func(*target, time.Duration)) option {
	return func(t *target, value string) error {
		v, err := time.ParseDuration(value)
		if ms, whole := strconv.ParseInt(value, 10, 32); whole == nil {
			v, err = time.Duration(ms)*time.Millisecond, nil
		}
		if err != nil || v < 0 {
			return errors.New(`the value must be a duration, such as "250ms", or a number of milliseconds`)
		}
		set(t, v)
		return nil
	}
}

func minVersion(t *target, value string) error {
	v, ok := secure.Version(value)
	if !ok {
		return errors.New("the value must be tls1.0, tls1.1, tls1.2 or tls1.3")
	}
	t.minVersion = v
	return nil
}
