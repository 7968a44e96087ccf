package gonsq

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nsqio/go-nsq"
)

// layers is how a connection goes on after IDENTIFY, as /stats says it of a
// client.
type layers struct {
	TLS     bool `json:"tls"`
	Snappy  bool `json:"snappy"`
	Deflate bool `json:"deflate"`
}

// Messages of many sizes, published one by one and as batches, come through TLS
// and both compressions as they were.
func TestLayers(t *testing.T) {
	files := filepath.Join(moduleFolder(t), "test")
	h := startHouse(t, "--https-address=", "--tls-cert="+filepath.Join(files, "server.pem"), "--tls-key="+filepath.Join(files, "server.key"))
	for _, l := range []layers{
		{}, {TLS: true}, {Snappy: true}, {Deflate: true}, {TLS: true, Snappy: true}, {TLS: true, Deflate: true},
	} {
		t.Run(fmt.Sprintf("%+v", l), func(t *testing.T) {
			topic := fmt.Sprintf("tls-%v.snappy-%v.deflate-%v", l.TLS, l.Snappy, l.Deflate)
			settings := map[string]any{"tls_v1": l.TLS, "snappy": l.Snappy, "deflate": l.Deflate}
			if l.TLS {
				settings["tls_insecure_skip_verify"] = true // the module's certificate is in nobody's name
			}
			var bodies [][]byte
			for i := range 1500 {
				bodies = append(bodies, bytes.Repeat(fmt.Appendf(nil, "%d,", i), 1+i*i%700))
			}
			bodies = append(bodies, []byte(strings.Repeat("large ", 150_000)))
			p := h.producerWith(t, settings)
			done := make(chan *nsq.ProducerTransaction, len(bodies))
			for i, b := range bodies {
				var err error
				if i%500 == 0 {
					err = p.MultiPublishAsync(topic, bodies[i:i+1], done)
				} else {
					err = p.PublishAsync(topic, b, done)
				}
				if err != nil {
					t.Fatal(err)
				}
			}
			for range bodies {
				if err := receive(t, done).Error; err != nil {
					t.Fatal(err)
				}
			}
			got := make(chan delivery, len(bodies))
			h.consume(t, topic, "all", func(m *nsq.Message) error {
				got <- deliveryOf(m)
				return nil
			}, settings)
			for i, want := range bodies {
				if d := receive(t, got); d.body != string(want) || d.attempts != 1 {
					t.Fatalf("message %d came with %d bytes as attempt %d, want %d bytes, attempt 1", i, len(d.body), d.attempts, len(want))
				}
			}
			if got := h.layersOf(t, topic); got != l {
				t.Errorf("the consumer's connection has %+v, want %+v", got, l)
			}
		})
	}
}

// layersOf returns those of the only consumer of topic.
func (h house) layersOf(t *testing.T, topic string) layers {
	t.Helper()
	r, err := http.Get("http://" + h.qdHTTP + "/stats?format=json&topic=" + topic)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	var answer struct {
		Topics []struct {
			Channels []struct {
				Clients []layers `json:"clients"`
			} `json:"channels"`
		} `json:"topics"`
	}
	if err := json.NewDecoder(r.Body).Decode(&answer); err != nil {
		t.Fatal(err)
	}
	if len(answer.Topics) != 1 || len(answer.Topics[0].Channels) != 1 || len(answer.Topics[0].Channels[0].Clients) != 1 {
		t.Fatalf("/stats says %+v, want one client", answer)
	}
	return answer.Topics[0].Channels[0].Clients[0]
}
