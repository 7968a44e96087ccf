package work

import (
	"context"
	"fmt"
	"io"

	"github.com/millrace-mq/millrace/apps/bench/report"
)

// Suite runs workloads on a subject and on the null broker.
type Suite struct {
	Works    []Work // in this order
	Subject  Subject
	Settings Settings
	Rounds   int
	Progress io.Writer // a line for each step
}

// Run does the workloads in turn, the null broker's right after the subject's
// so that both meet the machine in the same mood, as many times as there are
// rounds, and pairs the medians.
func (s Suite) Run(ctx context.Context) ([]report.Row, error) {
	if s.Rounds < 1 {
		return nil, fmt.Errorf("--rounds %d: must be 1 or more", s.Rounds)
	}
	var subject, null rounds
	for n := range s.Rounds {
		for _, w := range s.Works {
			if why := s.skip(w); why != "" {
				fmt.Fprintf(s.Progress, "round %d of %d: %s is left out: %s\n", n+1, s.Rounds, w.Name, why)
				continue
			}
			if err := s.step(ctx, n, w, s.Subject, &subject); err != nil {
				return nil, err
			}
			if !w.OnNull {
				continue
			}
			if err := s.step(ctx, n, w, Subject{Null: true}, &null); err != nil {
				return nil, err
			}
		}
	}
	return report.Rows(subject.medians(), null.medians()), nil
}

func (s Suite) skip(w Work) string {
	switch {
	case s.Subject.Start != "":
		return ""
	case w.Name == "spill":
		return "it wants a broker with a small --mem-queue-size; let me --start it, or run it alone"
	case w.Name == "idle" && s.Subject.PID == 0:
		return "it wants --pid or --start"
	}
	return ""
}

func (s Suite) step(ctx context.Context, n int, w Work, subject Subject, to *rounds) error {
	results, err := subject.Run(ctx, w, s.Settings)
	if err != nil {
		return fmt.Errorf("%s: %w", w.Name, err)
	}
	for _, r := range results {
		what := fmt.Sprintf("%.0f messages/s", r.Rate)
		if r.Latency != nil {
			what = fmt.Sprintf("p50 %.0f µs", r.Latency.P50)
		} else if r.Rate == 0 {
			what = fmt.Sprintf("%.1f MB", float64(r.Resident)/1e6)
		}
		fmt.Fprintf(s.Progress, "round %d of %d: %s on %s: %s\n", n+1, s.Rounds, r.Name(), r.Broker, what)
		to.add(r)
	}
	return nil
}

// rounds collects the results of each work through the same layers, in the order
// they first came.
type rounds struct {
	order []string
	of    map[string][]report.Result
}

func (r *rounds) add(result report.Result) {
	if r.of == nil {
		r.of = map[string][]report.Result{}
	}
	name := result.Name()
	if r.of[name] == nil {
		r.order = append(r.order, name)
	}
	r.of[name] = append(r.of[name], result)
}

func (r *rounds) medians() (results []report.Result) {
	for _, name := range r.order {
		results = append(results, report.Median(r.of[name]))
	}
	return results
}
