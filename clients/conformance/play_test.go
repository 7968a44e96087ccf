package conformance

import (
	"strings"
	"testing"

	"github.com/millrace-mq/millrace/clients/conformance/script"
)

// Whatever a client does other than its scenario says must fail it.
func TestPlayFails(t *testing.T) {
	const publish = `
writer w addresses=A
w publishes orders "a"
A accepts
A <- PUB orders "a"
A -> OK
`
	const receive = `
reader r topic=orders channel=c addresses=A
A accepts SUB orders c
A -> message 1 "a"
`
	tests := []struct{ name, text, want string }{
		{"another outcome", publish + `w "a" -> refused`, "it has ended as stored"},
		{"another text", "writer w -> error \"no such words\"", "it has ended as error"},
		{"another command", publish + "w \"a\" -> stored\nw publishes orders \"b\"\nA <- PUB orders \"c\"", `came PUB orders "b"`},
		{"another message", receive + `r receives "b"`, `it has received "a"`},
		{"another number of attempts", receive + `r receives "a" attempts=2`, "with attempts 1"},
		{"an outcome that nobody asks for", publish, `nobody has asked what came of w "a"`},
		{"a command that nobody expects", receive + `r receives "a"`, "nobody expected A <- FIN"},
		{"a message that nobody expects", receive + "A <- FIN 1", `nobody expected that r receives "a"`},
		{"a publish that nobody begins", `writer w addresses=A` + "\n" + `w "a" -> stored`, "was not asked for this"},
		{"a client that is not there", "r pauses", `there is no client "r"`},
		{"a setting that is not there", "writer w addresses=A size=1", "there is no setting size"},
	}
	a := adapters(t)[0]
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			list, err := script.Parse("== x\n" + tt.text)
			if err != nil {
				t.Fatal(err)
			}
			switch err := Play(list[0], a, t.TempDir()); {
			case err == nil:
				t.Error("it is played to the end")
			case !strings.Contains(err.Error(), tt.want):
				t.Errorf("it is not said %q, but: %v", tt.want, err)
			}
		})
	}
}
