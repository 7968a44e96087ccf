package protocol

import "testing"

func TestLoggable(t *testing.T) {
	for _, tt := range []struct {
		err  *Error
		want string
	}{
		{Errorf(EInvalid, "invalid command %s", "PEEK"), "E_INVALID invalid command PEEK"},
		{Errorf(EInvalid, "invalid command %s", "s3cret"), "E_INVALID invalid command (not shown)"},
		{Errorf(EInvalid, "invalid command %s", "AVERYLONGWORDINCAPITALS"), "E_INVALID invalid command (not shown)"},
		{Errorf(EBadTopic, "PUB topic name %q is not valid", "a/b"), `E_BAD_TOPIC PUB topic name "a/b" is not valid`},
		{&Error{Code: EBadBody}, "E_BAD_BODY"},
	} {
		if got := tt.err.Loggable(); got != tt.want {
			t.Errorf("%q, want %q", got, tt.want)
		}
	}
}
