package qd_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"

	"github.com/millrace-mq/millrace/internal/program"
	"github.com/millrace-mq/millrace/qd"
)

// options are what /config tells of a daemon with default settings: durations
// in nanoseconds, the level and versions as nsqd's numbers.
const options = `access_file 
audit_file 
auth_http_addresses []
auth_http_request_method get
broadcast_address 127.0.0.1
broadcast_http_port HTTP
broadcast_tcp_port TCP
client_max_channels 0
client_max_publish_bytes_per_second 0
client_max_publish_messages_per_second 0
client_max_topics 0
data_path DATA
deflate true
drain_timeout 5000000000
durability disk
e2e_processing_latency_percentiles []
e2e_processing_latency_window_time 600000000000
enable_experiment []
http_address 127.0.0.1:0
http_client_connect_timeout 2000000000
http_client_request_timeout 5000000000
https_address 127.0.0.1:4152
log_format auto
log_level 2
log_prefix 
lookupd_tls false
lookupd_tls_cert 
lookupd_tls_insecure_skip_verify false
lookupd_tls_key 
lookupd_tls_root_ca_file 
lookupd_token_file 
max_body_size 5242880
max_bytes_per_file 104857600
max_channel_consumers 0
max_connections 0
max_connections_per_address 0
max_deflate_level 6
max_heartbeat_interval 60000000000
max_msg_size 1048576
max_msg_timeout 900000000000
max_output_buffer_size 65536
max_output_buffer_timeout 30000000000
max_publish_bytes_per_second 0
max_publish_messages_per_second 0
max_rdy_count 2500
max_req_timeout 3600000000000
mem_limit 1073741824
mem_queue_size 1000000
metrics_max_topics 500
min_free_disk 67108864
min_output_buffer_timeout 25000000
msg_timeout 60000000000
nsqlookupd_tcp_addresses []
output_buffer_timeout 250000000
segment_bytes 67108864
snappy true
statsd_address 
statsd_exclude_ephemeral false
statsd_interval 60000000000
statsd_mem_stats true
statsd_prefix nsq.127_0_0_1_HTTP.
statsd_udp_packet_size 508
stop_timeout 2000000000
sync_every 2500
sync_timeout 2000000000
tcp_address 127.0.0.1:0
tls_cert 
tls_client_auth_policy 
tls_key 
tls_min_version 771
tls_required 0
tls_root_ca_file 
topology_region 
topology_zone 
unix_socket_mode 0660
`

func TestConfigOverHTTP(t *testing.T) {
	s := settings(t)
	s.MemLimit = 1 << 30
	d, err := qd.Listen(s, slog.New(slog.DiscardHandler), new(slog.LevelVar))
	if err != nil {
		t.Fatal(err)
	}
	stop := serve(t, d)
	want := strings.NewReplacer("TCP", port(d.TCPAddr()), "HTTP", port(d.HTTPAddr()), "DATA", s.DataPath).Replace(options)

	fs := flag.NewFlagSet("qd", flag.ContinueOnError)
	s.Flags(fs)
	var got strings.Builder
	for _, o := range program.Options(fs) {
		status, answer := get(t, d, "/config/"+o.Key)
		if fmt.Fprintf(&got, "%s %s\n", o.Key, answer); status != http.StatusOK {
			t.Errorf("%s is answered %d", o.Key, status)
		}
	}
	if got.String() != want {
		t.Errorf("it tells\n%s\nwant\n%s", got.String(), want)
	}
	for _, none := range []string{"version", "config", "id", "node_id", "verbose", "lookupd_tcp_address", "queue_scan_worker_pool_max"} {
		if status, answer := get(t, d, "/config/"+none); status != 400 || answer != `{"message":"INVALID_OPTION"}` {
			t.Errorf("%s is answered %d %s", none, status, answer)
		}
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
}

// setting is one that /config lists.
type setting struct {
	Key            string
	Value, Default json.RawMessage
	Source         string
	Text           string
}

func settingsOf(t *testing.T, d *qd.Daemon) (all []setting) {
	t.Helper()
	status, answer := get(t, d, "/config")
	var list struct{ Settings []setting }
	if err := json.Unmarshal([]byte(answer), &list); err != nil || status != http.StatusOK {
		t.Fatalf("/config is answered %d %s: %v", status, answer, err)
	}
	return list.Settings
}

// The list of all settings has those that can be asked for singly, with the same
// values, and says where they come from.
func TestConfigIsListed(t *testing.T) {
	s := settings(t)
	fs := flag.NewFlagSet("qd", flag.ContinueOnError)
	s.Flags(fs)
	origins := program.OriginsOf(fs)
	if err := fs.Parse([]string{"--msg-timeout=90s", "--log-level=info"}); err != nil {
		t.Fatal(err)
	}
	s.Origins = origins()
	d, err := qd.Listen(s, slog.New(slog.DiscardHandler), new(slog.LevelVar))
	if err != nil {
		t.Fatal(err)
	}
	stop := serve(t, d)
	all := settingsOf(t, d)
	if len(all) != len(program.Options(fs)) {
		t.Errorf("%d settings are listed, want %d", len(all), len(program.Options(fs)))
	}
	for _, s := range all {
		if _, alone := get(t, d, "/config/"+s.Key); alone != string(s.Value) && alone != strings.Trim(string(s.Value), `"`) {
			t.Errorf("%s is listed as %s, and alone it is %s", s.Key, s.Value, alone)
		}
		said := s.Key == "msg_timeout" || s.Key == "log_level"
		if said != (s.Source == "flag") || !said && s.Source != "default" {
			t.Errorf("%s comes from %s", s.Key, s.Source)
		}
		if s.Key == "msg_timeout" && (string(s.Value) != "90000000000" || string(s.Default) != "60000000000" || s.Text != "1m30s") {
			t.Errorf("%+v", s)
		}
	}

	configure(t, d, "/config/log_level", "debug")
	configure(t, d, "/config/nsqlookupd_tcp_addresses", `["127.0.0.1:1"]`)
	for _, s := range settingsOf(t, d) {
		switch s.Key {
		case "log_level":
			if s.Source != "runtime" || string(s.Value) != "1" || string(s.Default) != "2" || s.Text != "debug" {
				t.Errorf("%+v", s)
			}
		case "nsqlookupd_tcp_addresses":
			if s.Source != "runtime" || string(s.Value) != `["127.0.0.1:1"]` || string(s.Default) != "[]" || s.Text != "127.0.0.1:1" {
				t.Errorf("%+v", s)
			}
		case "msg_timeout":
			if s.Source != "flag" {
				t.Errorf("%+v", s)
			}
		}
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
}

func configure(t *testing.T, d *qd.Daemon, path, value string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPut, "http://"+d.HTTPAddr().String()+path, strings.NewReader(value))
	if err != nil {
		t.Fatal(err)
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer http.DefaultClient.CloseIdleConnections()
	if answer.Body.Close(); answer.StatusCode != http.StatusOK {
		t.Errorf("PUT %s: %d", path, answer.StatusCode)
	}
}

func get(t *testing.T, d *qd.Daemon, path string) (status int, answer string) {
	t.Helper()
	r, err := http.Get("http://" + d.HTTPAddr().String() + path)
	if err != nil {
		t.Fatal(err)
	}
	defer http.DefaultClient.CloseIdleConnections()
	defer r.Body.Close()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return r.StatusCode, string(body)
}
