package program

import (
	"flag"
	"io"
	"os"
	"strings"
	"testing"
)

func TestChoice(t *testing.T) {
	fs := flag.NewFlagSet("mill", flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	grain := Choice{Value: "wheat", Words: []string{"wheat", "rye", "oats"}}
	fs.Var(&grain, "grain", "`grain` to grind: "+grain.Expects())
	if err := parse(fs, []string{"--grain=barley"}); err == nil || err.Error() != `grain "barley": must be wheat, rye or oats` {
		t.Errorf("another word: %v", err)
	}
	if grain.Value != "wheat" {
		t.Errorf("a word that is refused makes it %q", grain.Value)
	}
	if err := parse(fs, []string{"--grain", "rye"}); err != nil || grain.Value != "rye" {
		t.Errorf("it is %q: %v", grain.Value, err)
	}
	if got := strings.Join(choices(fs.Lookup("grain")), " "); got != "wheat rye oats" {
		t.Errorf("it is completed to %q", got)
	}
}

func TestNoTerminal(t *testing.T) {
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	for name, stream := range map[string]any{"a buffer": new(strings.Builder), "the null device": null, "nothing": nil} {
		if IsTerminal(stream) {
			t.Errorf("%s is no terminal", name)
		}
	}
}
