package work

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"

	"github.com/millrace-mq/millrace/apps/bench/broker"
	"github.com/millrace-mq/millrace/apps/bench/load"
	"github.com/millrace-mq/millrace/apps/bench/report"
)

// Layered declares the flags of the workloads whose connections can have layers.
func (s *Settings) Layered(fs *flag.FlagSet) {
	fs.BoolVar(&s.TLS, "tls", false, "connect over TLS")
	s.authority(fs)
	fs.BoolVar(&s.Snappy, "snappy", false, "compress with Snappy")
	fs.IntVar(&s.Deflate, "deflate", 0, "compress with Deflate of this `level`, 1 to 9; 0 for none")
}

func (s *Settings) authority(fs *flag.FlagSet) {
	fs.StringVar(&s.TLSCA, "tls-ca", "", "`file` of certificates, one of which must vouch for the broker's; without it, and without --start, any will do")
}

var errNoLayers = errors.New("the null broker has neither TLS nor compression")

func (s *Settings) layered() bool { return s.TLS || s.Snappy || s.Deflate != 0 }

func (s *Settings) checkLayers() (errs []error) {
	if s.Deflate < 0 || s.Deflate > 9 {
		errs = append(errs, fmt.Errorf("--deflate %d: must be 1 to 9, or 0 for none", s.Deflate))
	}
	if s.Snappy && s.Deflate != 0 {
		errs = append(errs, errors.New("--snappy and --deflate both name a compression: give one"))
	}
	return errs
}

// layers is what connections to t ask for.
func (s *Settings) layers(t broker.Target) (load.Layers, error) {
	l := load.Layers{Snappy: s.Snappy, Deflate: s.Deflate}
	if !s.TLS {
		return l, nil
	}
	host, _, err := net.SplitHostPort(t.TCP)
	if err != nil {
		return l, fmt.Errorf("the broker's address: %w", err)
	}
	// #nosec G402 -- the bench's own daemon has a certificate that nobody has signed
	l.TLS = &tls.Config{ServerName: host, RootCAs: t.Roots, InsecureSkipVerify: t.Roots == nil && s.TLSCA == ""}
	if s.TLSCA == "" {
		return l, nil
	}
	pem, err := os.ReadFile(s.TLSCA)
	if err != nil {
		return l, fmt.Errorf("--tls-ca: %w", err)
	}
	l.TLS.RootCAs = x509.NewCertPool()
	if !l.TLS.RootCAs.AppendCertsFromPEM(pem) {
		return l, fmt.Errorf("--tls-ca %s: there is no certificate in it", s.TLSCA)
	}
	return l, nil
}

// Layering compares what layers cost: it publishes, drains, and does both at
// once through each stack of them.
type Layering struct {
	Subject  Subject
	Settings Settings
	Rounds   int
	Progress io.Writer // a line for each step
}

// Flags declares the flags of Layering's own.
func (l *Layering) Flags(fs *flag.FlagSet) {
	l.Subject.Flags(fs)
	fs.IntVar(&l.Rounds, "rounds", 3, "do everything this many `times` and show the medians")
	l.Settings.Common(fs)
	l.Settings.Streaming(fs)
	l.Settings.authority(fs)
}

// Run does each work through each stack of layers in turn, plainly first, as
// many times as there are rounds, and returns the medians by work.
func (l Layering) Run(ctx context.Context) ([]report.Row, error) {
	if l.Rounds < 1 {
		return nil, fmt.Errorf("--rounds %d: must be 1 or more", l.Rounds)
	}
	var got rounds
	for n := range l.Rounds {
		for _, w := range Works() {
			if w.Name != "publish" && w.Name != "drain" && w.Name != "both" {
				continue
			}
			for _, stack := range stacks {
				s := Suite{Settings: l.Settings, Rounds: l.Rounds, Progress: l.Progress}
				stack(&s.Settings)
				if err := s.step(ctx, n, w, l.Subject, &got); err != nil {
					return nil, err
				}
			}
		}
	}
	return report.Rows(got.medians(), nil), nil
}

// stacks are the layers that Layering compares.
var stacks = []func(*Settings){
	func(*Settings) {},
	func(s *Settings) { s.TLS = true },
	func(s *Settings) { s.Snappy = true },
	func(s *Settings) { s.Deflate = 1 },
	func(s *Settings) { s.Deflate = 6 },
	func(s *Settings) { s.TLS, s.Snappy = true, true },
	func(s *Settings) { s.TLS, s.Deflate = true, 6 },
}
