package takeover

import (
	"errors"
	"fmt"
	"io"
	"os"
)

// go-diskqueue, when it meets a length that cannot be, gives up the rest of
// the file: one changed byte costs up to 100 MiB of messages. So a data file
// is surveyed before: its records are followed from length to length, and
// where they lead to none, the next one is searched for. What comes of it is
// stretches of sound records, which go-diskqueue is then given one by one.
//
// nsqd's records have no checksum, so damage inside a body or a timestamp
// cannot be seen, nor a length changed so that it leads to another record: that
// message then comes with the next one as a part of it.

// run is a stretch of sound records of a data file.
type run struct {
	from, to int64
	records  int64
	largest  int64 // length of the largest record
}

// Damage is a stretch of a data file in which no record can be made out, or
// none that can be believed. Where it reaches to the end of the file it may be
// a message whose writing nsqd did not finish, and did not acknowledge.
type Damage struct {
	File     string // name in nsqd's data directory
	From, To int64  // bytes
}

// survey is the survey of one data file.
type survey struct {
	f    io.ReaderAt
	size int64
	// from is where what nsqd has not yet read begins. Records before it are
	// followed, to see whether it is the beginning of one, but not kept.
	from int64

	runs     []run
	damage   []Damage // without the file's name
	astray   bool     // from is in the middle of a record
	buffer   []byte   // of the file, from bufferAt on
	bufferAt int64
	err      error // of the first read that failed; nothing is found behind it
}

// surveyFile surveys the data file called path. If from is not where a record
// begins, it is taken for wrong, and the whole file for unread: to repeat
// messages is better than to lose them. astray reports that.
func surveyFile(path string, from int64) (runs []run, damage []Damage, astray bool, err error) {
	// #nosec G304 -- on the data path; names of topics and channels have no slash
	f, err := os.Open(path)
	if err != nil {
		return nil, nil, false, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	info, err := f.Stat()
	if err != nil {
		return nil, nil, false, err
	}
	if !info.Mode().IsRegular() {
		return nil, nil, false, fmt.Errorf("%s: not a file", path)
	}
	s := survey{f: f, size: info.Size(), from: from, astray: from > info.Size()}
	if !s.astray {
		s.follow()
	}
	if s.astray && s.err == nil {
		s = survey{f: f, size: info.Size(), astray: true, buffer: s.buffer[:0]}
		s.follow()
	}
	return s.runs, s.damage, s.astray, s.err
}

// follow goes from record to record. It ends early if from proves wrong.
func (s *survey) follow() {
	for at := int64(0); at < s.size && s.err == nil && !(s.astray && s.from > 0); {
		end, whole := s.record(at)
		if whole && s.sound(end) {
			s.accept(at, end)
			at = end
			continue
		}
		next := s.search(at + 1)
		if whole && s.blameless(at, end, next) {
			s.accept(at, end)
			at = end
		}
		if next > s.from {
			s.damage = append(s.damage, Damage{From: at, To: next})
		}
		at = next
	}
}

// record returns where the record that begins at a place ends, and whether
// there seems to be a whole one.
func (s *survey) record(at int64) (end int64, whole bool) {
	b := s.start(at)
	end = at + lengthSize + b.length()
	return end, b.length() > 0 && end <= s.size && b.named()
}

// sound reports whether a record can begin at a place, or the file end there.
func (s *survey) sound(at int64) bool {
	if at == s.size {
		return true
	}
	_, whole := s.record(at)
	return whole
}

// search returns where the first record from a place on begins; size if there
// is none. A record is believed if it leads to another one or to the end of
// the file, or if its ID agrees with its time: one alone between two damaged
// ones is found too.
func (s *survey) search(at int64) int64 {
	for at+startSize <= s.size && s.err == nil {
		b := s.start(at)
		if len(b) == 0 {
			break
		}
		if no := lastNoDigit(b[idOffset:]); no >= 0 {
			at += int64(no) + 1 // no ID can contain this byte
			continue
		}
		shaped, dated := b.shaped(), b.dated() // before the buffer moves on
		if end, whole := s.record(at); whole && (dated || shaped && s.sound(end)) {
			return at
		}
		at++
	}
	return s.size
}

// blameless decides what is damaged where a record leads to none: its length,
// or what lies behind it. next is where the next sound record begins.
func (s *survey) blameless(at, end, next int64) bool {
	if next < end {
		return false // it would swallow a sound record
	}
	behind := s.start(end)
	if len(behind) == 0 {
		return false // it cannot be read
	}
	if behind.shaped() || behind.torn() || behind.blank() {
		return true // a record's remains, or nothing, as it should be
	}
	if n := behind.length(); n > 0 && end+lengthSize+n <= s.size && s.sound(end+lengthSize+n) {
		return true // the length behind is right, so only the ID there is not
	}
	// Neither is evident. If this record, with one byte of its length changed,
	// would reach the next sound one, that is what must have happened: the body
	// is cut off, and no part of a message is ever passed on as a whole.
	// #nosec G115 -- lengths of records, below 2 GiB, which only are compared
	return !oneByteApart(uint32(end-at-lengthSize), uint32(next-at-lengthSize))
}

func oneByteApart(a, b uint32) bool {
	differing := 0
	for x := a ^ b; x != 0; x >>= 8 {
		if x&0xff != 0 {
			differing++
		}
	}
	return differing == 1
}

// accept adds a record to the runs, if it was not read yet.
func (s *survey) accept(at, end int64) {
	if end <= s.from {
		return
	}
	if at < s.from {
		s.astray = true
		return
	}
	if n := len(s.runs); n == 0 || s.runs[n-1].to != at {
		s.runs = append(s.runs, run{from: at})
	}
	r := &s.runs[len(s.runs)-1]
	r.to = end
	r.records++
	r.largest = max(r.largest, end-at-lengthSize)
}

// surveyBuffer is how much is read at a time, in bytes.
const surveyBuffer = 256 << 10

// start returns what lies at a place: startSize bytes, or fewer at the end of
// the file, or none after an error. It is valid until the next call.
func (s *survey) start(at int64) start {
	n := min(startSize, s.size-at)
	if n <= 0 || s.err != nil {
		return nil
	}
	if at < s.bufferAt || at+n > s.bufferAt+int64(len(s.buffer)) {
		s.fill(at)
	}
	if s.err != nil {
		return nil
	}
	return start(s.buffer[at-s.bufferAt:][:n])
}

// fill reads into the buffer. What the search asks for lies ahead of where it
// will go on, at most one record, so the buffer begins a little before.
func (s *survey) fill(at int64) {
	if s.buffer == nil {
		s.buffer = make([]byte, 0, surveyBuffer)
	}
	s.bufferAt = max(0, at-surveyBuffer/4)
	s.buffer = s.buffer[:min(surveyBuffer, s.size-s.bufferAt)]
	if _, err := s.f.ReadAt(s.buffer, s.bufferAt); err != nil {
		s.err = err
	}
}
