package history

import (
	"math"
	"testing"
)

func TestCodeOfCounts(t *testing.T) {
	for v := range 2049 {
		if got := decode(encode(float32(v))); got != float32(v) {
			t.Fatalf("%d is kept as %v", v, got)
		}
	}
}

func TestCodeIsCloseAndInOrder(t *testing.T) {
	before := encode(0)
	for v := 0.001; v < 1e16; v *= 1.0003 {
		c := encode(float32(v))
		if c < before {
			t.Fatalf("%v has code %d, a smaller value had %d", v, c, before)
		}
		before = c
		if got := float64(decode(c)); math.Abs(got-v) > v/2000 {
			t.Fatalf("%v is kept as %v", v, got)
		}
	}
}

func TestEveryCodeIsOneValue(t *testing.T) {
	for c := range 1 << 16 {
		if got := encode(decode(code(c))); got != code(c) {
			t.Fatalf("code %d is %v, which has code %d", c, decode(code(c)), got)
		}
	}
}

func TestCodeOfOddValues(t *testing.T) {
	inf := float32(math.Inf(1))
	tests := []struct {
		v    float32
		want float32 // NaN: not known
	}{
		{float32(math.NaN()), float32(math.NaN())},
		{inf, float32(math.NaN())},
		{-inf, float32(math.NaN())},
		{-1, float32(math.NaN())},
		{0, 0},
		{float32(math.Copysign(0, -1)), 0},
		{1e-30, 0},
		{1.0 / 4096, 0},
		{1.0 / 1500, 1.0 / 1024},
		{math.MaxFloat32, decode(math.MaxUint16)},
	}
	for _, tt := range tests {
		got := decode(encode(tt.v))
		if got != tt.want && !(got != got && tt.want != tt.want) {
			t.Errorf("%v is kept as %v, want %v", tt.v, got, tt.want)
		}
	}
}
