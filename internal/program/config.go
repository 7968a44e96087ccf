package program

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"os"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/BurntSushi/toml"
)

const configFlag = "config"

// ConfigFile declares --config on fs: a file in TOML whose keys are the flags'
// names with underscores, or what Key says. Run reads it. What is given as a
// flag or in the environment wins over it.
func ConfigFile(fs *flag.FlagSet) {
	fs.String(configFlag, "", "`file` in TOML with settings: flags' names with underscores; flags and the environment win over it")
}

// Repeatable is a flag.Value that may be given several times. In a config file
// it may be an array.
type Repeatable interface {
	flag.Value
	Repeatable() bool
}

// Expecting is a flag.Value that says what it takes, after "must be", for those
// whose Get does not show it.
type Expecting interface {
	flag.Value
	Expects() string
}

// config is a file that is being read into flags.
type config struct {
	fs    *flag.FlagSet
	path  string
	text  string
	given map[string]bool // flags that the command line or the environment has set

	warnings []string
	errs     []error
}

// readConfig sets the flags of fs as the file at path says, but for those that
// have been given. The error tells everything that is wrong with the file.
// warnings are lines about what has no effect.
func readConfig(fs *flag.FlagSet, path string) (warnings []string, err error) {
	text, err := readBounded(path)
	if err != nil {
		return nil, fmt.Errorf("config: %w", err)
	}
	var values map[string]any
	meta, err := toml.Decode(string(text), &values)
	if bad, ok := errors.AsType[toml.ParseError](err); ok {
		return nil, fmt.Errorf("config %s:%d: %s", path, bad.Position.Line, bad.Message)
	} else if err != nil {
		return nil, fmt.Errorf("config %s: %w", path, err)
	}
	c := &config{fs: fs, path: path, text: string(text), given: givenIn(fs)}
	for _, key := range meta.Keys() { // in the file's order
		if len(c.errs) >= maxComplaints {
			c.errs = append(c.errs, fmt.Errorf("config %s: more is wrong: these were the first %d", path, maxComplaints))
			break
		}
		if len(key) == 1 {
			c.set(key[0], values[key[0]])
		}
	}
	return c.warnings, errors.Join(c.errs...)
}

// maxConfig is the most bytes of a config file: with every setting and a comment to each
// it has some 20,000. What has more is some other file, and is not read into memory.
const maxConfig = 128 << 10

// maxComplaints is how many there are about a file. One that has more is not meant for
// the program, and to look for what was meant by each of its keys takes long.
const maxComplaints = 50

func readBounded(path string) ([]byte, error) {
	// #nosec G304 -- the operator's file
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxConfig+1))
	if err == nil && len(text) > maxConfig {
		err = fmt.Errorf("%s has more than %d bytes: it is no config file", path, maxConfig)
	}
	if err == nil {
		err = shallow(path, text)
	}
	return text, err
}

// shallow refuses keys of very many parts and tables in tables: the parser would take
// time and memory by the square of their number.
func shallow(path string, text []byte) error {
	n := 0
	for line := range bytes.Lines(text) {
		n++
		if bytes.Count(line, []byte("{")) > 100 {
			return fmt.Errorf("%s:%d: is no setting", path, n)
		}
		if end := bytes.IndexAny(line, "=\"'#"); end >= 0 {
			line = line[:end]
		}
		if bytes.Count(line, []byte(".")) > 100 {
			return fmt.Errorf("%s:%d: is no setting", path, n)
		}
	}
	return nil
}

// where names the line of the key. The parser does not tell it.
func (c *config) where(key string) string {
	line := regexp.MustCompile(`(?m)^[ \t]*(\[[ \t]*)*["']?` + regexp.QuoteMeta(key) + `["']?[ \t]*[=.\]]`)
	at := line.FindStringIndex(c.text)
	if at == nil {
		return "config " + c.path
	}
	return fmt.Sprintf("config %s:%d", c.path, 1+strings.Count(c.text[:at[0]], "\n"))
}

func (c *config) complain(key, format string, args ...any) {
	c.errs = append(c.errs, fmt.Errorf("%s: %s", c.where(key), fmt.Sprintf(format, args...)))
}

func (c *config) set(key string, value any) {
	f := c.find(key)
	if f == nil {
		if near := c.nearest(key); near != "" {
			c.complain(key, "unknown key %q: is %q meant?", key, near)
		} else {
			c.complain(key, "unknown key %q (--help lists the flags; keys have underscores)", key)
		}
		return
	}
	values, expected := textOf(f, value)
	if expected != "" {
		c.complain(key, "%s: must be %s", key, expected)
		return
	}
	if reason, old := obsolete(f); old {
		c.warnings = append(c.warnings, fmt.Sprintf("%s: %s has no effect: %s", c.where(key), key, reason))
	} else if c.given[f.Name] {
		return
	}
	if err := choose(c.fs, f, values, FromFile, oneLine(strings.TrimPrefix(c.where(key), "config "))); err != nil {
		c.complain(key, "%s: %s", key, refusal(f, kindInFile(f), err))
	}
}

// find returns the flag that key stands for, obsolete ones too, or nil.
func (c *config) find(key string) *flag.Flag {
	if f := c.fs.Lookup(key); f != nil && isKey(f) {
		return c.fs.Lookup(meant(f))
	}
	for _, o := range Options(c.fs) {
		if o.Key == key {
			return o.Flag
		}
	}
	if f := c.fs.Lookup(strings.ReplaceAll(key, "_", "-")); f != nil {
		if _, old := obsolete(f); old {
			return f
		}
	}
	return nil
}

// nearest is the key that was probably meant, or nothing.
func (c *config) nearest(key string) string {
	same := c.fs.Lookup(strings.ReplaceAll(key, "_", "-"))
	var keys []string
	for _, o := range Options(c.fs) {
		if same != nil && meant(same) == o.Flag.Name {
			return o.Key // a flag that has another name in files
		}
		keys = append(keys, o.Key)
	}
	return closest(key, keys)
}

// textOf is value as it would be given to the flag f, once for each time, or
// what f expects if value is not that.
func textOf(f *flag.Flag, value any) (values []string, expected string) {
	expected = kindInFile(f)
	list, isList := value.([]any)
	if !isList {
		list = []any{value}
	} else if r, ok := f.Value.(Repeatable); !ok || !r.Repeatable() {
		return nil, expected
	}
	for _, v := range list {
		text, ok := scalar(f, v)
		if !ok {
			return nil, expected
		}
		values = append(values, text)
	}
	return values, ""
}

func scalar(f *flag.Flag, value any) (text string, ok bool) {
	got := current(f)
	switch v := value.(type) {
	case string:
		return v, true // what a flag would be given
	case bool:
		boolean, ok := f.Value.(interface{ IsBoolFlag() bool })
		return strconv.FormatBool(v), ok && boolean.IsBoolFlag()
	case int64:
		switch got.(type) {
		case time.Duration:
			// Beyond this milliseconds are no duration any more.
			const most = math.MaxInt64 / int64(time.Millisecond)
			return strconv.FormatInt(v, 10) + "ms", -most <= v && v <= most
		case int, int64, uint, uint64, float64, []float64:
			return strconv.FormatInt(v, 10), true
		}
	case float64:
		switch got.(type) {
		case float64, []float64:
			return strconv.FormatFloat(v, 'g', -1, 64), true
		}
	}
	return "", false
}

// kind says what values f takes on the command line.
func kind(f *flag.Flag) string {
	if e, ok := f.Value.(Expecting); ok {
		return e.Expects()
	}
	switch current(f).(type) {
	case bool:
		return "true or false"
	case int, int64, uint, uint64:
		return "a whole number"
	case time.Duration:
		return `a duration, such as "250ms"`
	case float64, []float64:
		return "a number"
	}
	return "a string"
}

// kindInFile is kind, and what more a config file may have.
func kindInFile(f *flag.Flag) string {
	text := kind(f)
	if _, ok := current(f).(time.Duration); ok {
		text += ", or a number of milliseconds"
	}
	if _, ok := f.Value.(Expecting); ok {
		return text
	}
	if r, ok := f.Value.(Repeatable); ok && r.Repeatable() {
		text += ", or an array of " + strings.TrimPrefix(text, "a ") + "s"
	}
	return text
}

// refusal is why a flag that takes what kind says would not take a value.
func refusal(f *flag.Flag, kind string, err error) string {
	if _, ok := f.Value.(Expecting); ok {
		return "must be " + kind
	}
	switch current(f).(type) {
	case bool, int, int64, uint, uint64, time.Duration, float64:
		return "must be " + kind // the flag package says "parse error"
	}
	return err.Error()
}

func current(f *flag.Flag) any {
	if g, ok := f.Value.(flag.Getter); ok {
		return g.Get()
	}
	return f.Value.String()
}
