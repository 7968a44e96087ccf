package archive

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/millrace-mq/millrace/apps/internal/record"
)

// file3 is a file of three members (or lines, or records), and where each ends.
func file3(f record.Format, c Compression) (file []byte, ends []int) {
	var out bytes.Buffer
	for i := range 3 {
		line := f.Append(nil, &record.Record{Topic: "orders", Body: []byte(strings.Repeat(fmt.Sprint("message ", i, " "), 50))})
		if c == None {
			out.Write(line)
		} else {
			m := c.member(3, &out)
			_, _ = m.in.Write(line)
			_ = m.end()
			c.giveBack(3, m)
		}
		ends = append(ends, out.Len())
	}
	return out.Bytes(), ends
}

// Wherever a file is cut off, what is whole ends with a member, and with the
// last one that is there; so it does if something else follows.
func TestWhole(t *testing.T) {
	for _, f := range []record.Format{record.Raw, record.JSON, record.Length} {
		for _, c := range []Compression{None, Gzip, Zstd} {
			t.Run(fmt.Sprintf("%s, %s", f, c), func(t *testing.T) {
				file, ends := file3(f, c)
				for cut := range len(file) + 1 {
					want, lines := 0, 0
					for _, end := range ends {
						if end <= cut {
							want = end
							lines++
						}
					}
					if n := lines; c == Gzip && n < 3 && strings.Trim(string(file[cut:ends[n]]), "\x00") == "" {
						continue // with zeros behind it, it is whole: a member ends with a small number
					}
					tails := map[string]string{"nothing": "", "zeros": strings.Repeat("\x00", 5000)}
					if f == record.Length && c == None && cut != want {
						delete(tails, "zeros") // they may be the body's
					}
					for name, tail := range tails {
						b := append(file[:cut:cut], tail...)
						end, n, err := whole(bytes.NewReader(b), f, c, 0, int64(len(b)))
						if int(end) != want || int(n.lines) != lines || err != nil {
							t.Fatalf("cut at %d, then %s: ends at %d with %d lines (%v), want %d with %d", cut, name, end, n.lines, err, want, lines)
						}
					}
				}
				end, n, err := whole(bytes.NewReader(file), f, c, int64(ends[1]), int64(len(file)))
				if int(end) != len(file) || n.lines != 1 || err != nil {
					t.Errorf("from the third on: ends at %d of %d, %d lines, %v", end, len(file), n.lines, err)
				}
			})
		}
	}
}

// Damage is where the whole part ends: a checksum tells.
func TestWholeOfDamage(t *testing.T) {
	for _, c := range []Compression{Gzip, Zstd} {
		file, ends := file3(record.Raw, c)
		for at := ends[1]; at < len(file); at++ {
			b := bytes.Clone(file)
			b[at] ^= 0x55
			end, _, err := whole(bytes.NewReader(b), record.Raw, c, 0, int64(len(b)))
			// Of the headers, some bits mean nothing.
			if harmless := at < ends[1]+10; int(end) != ends[1] && !harmless || err != nil {
				t.Errorf("%s damaged at %d: ends at %d (%v), want %d", c, at, end, err, ends[1])
			}
		}
	}
}

type brokenDisk struct {
	io.ReaderAt
	from int64
}

var errBroken = errors.New("broken")

func (d brokenDisk) ReadAt(p []byte, off int64) (int, error) {
	if off+int64(len(p)) > d.from {
		return 0, errBroken
	}
	return d.ReaderAt.ReadAt(p, off)
}

// That the disk cannot read is not taken for an end.
func TestWholeOfWhatCannotBeRead(t *testing.T) {
	for _, f := range []record.Format{record.Raw, record.JSON, record.Length} {
		for _, c := range []Compression{None, Gzip, Zstd} {
			file, _ := file3(f, c)
			r := brokenDisk{bytes.NewReader(file), int64(len(file) / 2)}
			if _, _, err := whole(r, f, c, 0, int64(len(file))); !errors.Is(err, errBroken) {
				t.Errorf("%s, %s: %v", f, c, err)
			}
		}
	}
}

func FuzzWhole(f *testing.F) {
	for _, format := range []record.Format{record.Raw, record.JSON, record.Length} {
		for _, c := range []Compression{None, Gzip, Zstd} {
			file, _ := file3(format, c)
			f.Add(file, byte(format), byte(c))
		}
	}
	f.Fuzz(func(t *testing.T, b []byte, format, c byte) {
		ff, cc := record.Format(format%3), Compression(c%3)
		end, n, err := whole(bytes.NewReader(b), ff, cc, 0, int64(len(b)))
		if end < 0 || end > int64(len(b)) || err != nil {
			t.Fatalf("ends at %d of %d: %v", end, len(b), err)
		}
		again, m, err := whole(bytes.NewReader(b[:end]), ff, cc, 0, end)
		if again != end || n != m || err != nil {
			t.Fatalf("cut off at %d, it ends at %d (%v)", end, again, err)
		}
	})
}
