package spool

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
)

// TestKilled kills a process again and again while it puts and drops. Nothing that it
// says it has put is lost, nothing that it says it has dropped comes again, but for what it was
// about to say, and the order stays.
func TestKilled(t *testing.T) {
	if dir := os.Getenv("SPOOL_TO_FILL"); dir != "" {
		fill(t, dir)
		return
	}
	dir := t.TempDir()
	put, dropped := -1, -1 // the last number that the process spoke of
	for round := range 6 {
		child := exec.Command(os.Args[0], "-test.run=^TestKilled$", "-test.v")
		child.Env = append(os.Environ(), "SPOOL_TO_FILL="+dir)
		out, err := child.StdoutPipe()
		check(t, err)
		check(t, child.Start())
		said := bufio.NewScanner(out)
		for lines := 0; said.Scan(); lines++ {
			what, number, _ := strings.Cut(said.Text(), " ")
			n, err := strconv.Atoi(number)
			switch {
			case err != nil:
			case what == "put":
				put = n
			case what == "dropped":
				dropped = n
			}
			if lines == 50+7*round {
				check(t, child.Process.Kill())
			}
		}
		_ = child.Wait() // it was killed
	}
	s := openIn(t, Config{Dir: dir}, generationBytes)
	got := drain(t, s)
	if len(got) == 0 {
		t.Fatal("nothing is there")
	}
	first, _ := strconv.Atoi(got[0])
	for i, record := range got {
		if record != fmt.Sprint(first+i) {
			t.Fatalf("%s is number %d from %d on", record, i, first)
		}
	}
	last := first + len(got) - 1
	if first < dropped+1 || first > dropped+2 || last < put || last > put+1 {
		t.Errorf("%d to %d are there; %d was the last that was dropped, %d that was put", first, last, dropped, put)
	}
}

// fill puts numbers, which go on from those that are there, and drops one of three.
func fill(t *testing.T, dir string) {
	s := openIn(t, Config{Dir: dir}, 200)
	next := 0
	if first, err := s.Peek(); err != nil {
		t.Fatal(err)
	} else if first != nil {
		next, _ = strconv.Atoi(string(first))
		next += s.Len()
	}
	for ; ; next++ {
		check(t, s.Put([]byte(fmt.Sprint(next))))
		fmt.Printf("put %d\n", next)
		if next%3 == 0 {
			first, err := s.Peek()
			check(t, err)
			check(t, s.Drop())
			fmt.Printf("dropped %s\n", first)
		}
	}
}
