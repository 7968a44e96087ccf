package history

import (
	"math/rand/v2"
	"testing"
)

// somehow fills a column as topics do: mostly nothing, a constant, or about a value.
func somehow(r *rand.Rand, codes []code) {
	kind, low := r.IntN(6), code(r.UintN(1<<16))
	for i := range codes {
		switch kind {
		case 0:
			codes[i] = zero
		case 1:
			codes[i] = notKnown
		case 2:
			codes[i] = low
		case 3:
			codes[i] = low/2 + code(r.UintN(1<<r.UintN(15)))
		case 4:
			codes[i] = code(r.UintN(1 << 16))
		case 5:
			codes[i] = code(r.UintN(2)) * low
		}
	}
}

func TestRecordsAreReadAsWritten(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	longest := 0
	for range 5000 {
		rows := 1 + r.IntN(pageRows)
		var in, out [Metrics]column
		for m := range in {
			somehow(r, in[m][:rows])
		}
		record := appendRecord(nil, &in, rows)
		longest = max(longest, len(record))
		if !checkRecord(record, rows) || checkRecord(record[:len(record)-1], rows) || checkRecord(append(record, 0), rows) {
			t.Fatalf("a record of %d rows is not told from a longer or shorter one", rows)
		}
		slab := append(record, 1, 2, 3)
		if n := recordBytes(slab, rows); n != len(record) {
			t.Fatalf("a record of %d bytes seems to have %d", len(record), n)
		}
		for m := range Metrics {
			b, mode := skipTo(slab, m, rows)
			readColumn(b, mode, out[m][:rows])
			for i := range rows {
				if one := codeAt(slab, m, i, rows); out[m][i] != in[m][i] || one != in[m][i] {
					t.Fatalf("%s in row %d of %d is %d, was %d; alone it is %d", m, i, rows, out[m][i], in[m][i], one)
				}
			}
		}
	}
	if longest > recordMost {
		t.Errorf("a record took %d bytes, more than %d", longest, recordMost)
	}
}

func TestRecordOfNothingIsShort(t *testing.T) {
	var columns [Metrics]column
	for m := range columns {
		for i := range columns[m] {
			columns[m][i] = zero
		}
	}
	if record := appendRecord(nil, &columns, pageRows); len(record) != 2 {
		t.Errorf("nothing takes %d bytes, want 2", len(record))
	}
}
