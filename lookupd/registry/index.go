package registry

import (
	"iter"
	"slices"
	"strings"
)

// table holds topics by number. They never move, and growing never copies them:
// that would stop everybody for milliseconds.
type table struct {
	pages []*[pageTopics]topic
	free  []uint32
}

const pageTopics = 256

func (t *table) at(id uint32) *topic { return &t.pages[id/pageTopics][id%pageTopics] }

// take returns an unused topic.
func (t *table) take() *topic {
	if len(t.free) == 0 {
		// #nosec G115 -- slots and columns are of what is in memory: far fewer than 2^32
		first := uint32(len(t.pages) * pageTopics)
		t.pages = append(t.pages, new([pageTopics]topic))
		for id := first + pageTopics; id > first; id-- {
			t.free = append(t.free, id-1)
		}
	}
	id := t.free[len(t.free)-1]
	t.free = t.free[:len(t.free)-1]
	used := t.at(id)
	used.id = id
	return used
}

func (t *table) giveBack(id uint32) {
	*t.at(id) = topic{}
	t.free = append(t.free, id)
}

// index is a set of topics in the order of their names: runs of numbers, each of
// which holds names less than those of the next. Runs are short enough that one
// can be moved about at each change, and so are as many of them as there are
// for a million topics. The table tells the names.
type index struct {
	runs [][]uint32 // none is empty
	n    int
}

const maxRun = 256

// find returns where the first topic is whose name is not less than name: at
// which place of which run. The place may be behind the run's last.
func (x *index) find(t *table, name string) (run, place int) {
	run, first := slices.BinarySearchFunc(x.runs, name, func(ids []uint32, name string) int {
		return strings.Compare(t.at(ids[0]).name, name)
	})
	if first || run == 0 {
		return run, 0
	}
	run-- // its first is less
	place, _ = slices.BinarySearchFunc(x.runs[run], name, func(id uint32, name string) int {
		return strings.Compare(t.at(id).name, name)
	})
	return run, place
}

// insert adds a topic that is not there.
func (x *index) insert(t *table, id uint32) {
	x.n++
	last := len(x.runs) - 1
	name := t.at(id).name
	if last < 0 || t.at(x.runs[last][len(x.runs[last])-1]).name < name {
		// In order, as lists are said: full runs, and nothing to look for.
		if last < 0 || len(x.runs[last]) == maxRun {
			x.runs = append(x.runs, nil)
			last++
		}
		x.runs[last] = append(x.runs[last], id)
		return
	}
	run, place := x.find(t, name)
	if ids := x.runs[run]; len(ids) == maxRun {
		half := slices.Clone(ids[maxRun/2:])
		x.runs[run] = ids[:maxRun/2]
		x.runs = slices.Insert(x.runs, run+1, half)
		if place > maxRun/2 {
			run, place = run+1, place-maxRun/2
		}
	}
	x.runs[run] = slices.Insert(x.runs[run], place, id)
}

// remove takes out a topic that is there.
func (x *index) remove(t *table, id uint32) {
	x.n--
	run, place := x.find(t, t.at(id).name)
	if x.runs[run] = slices.Delete(x.runs[run], place, place+1); len(x.runs[run]) == 0 {
		x.runs = slices.Delete(x.runs, run, run+1)
	}
}

// pop takes out the last one and returns it. There must be one.
func (x *index) pop() uint32 {
	x.n--
	last := len(x.runs) - 1
	ids := x.runs[last]
	id := ids[len(ids)-1]
	if x.runs[last] = ids[:len(ids)-1]; len(ids) == 1 {
		x.runs = slices.Delete(x.runs, last, last+1)
	}
	return id
}

// after yields the topics whose names are greater than name, in order.
func (x *index) after(t *table, name string) iter.Seq[*topic] {
	return func(yield func(*topic) bool) {
		run, place := x.find(t, name)
		for ; run < len(x.runs); run, place = run+1, 0 {
			for _, id := range x.runs[run][place:] {
				if found := t.at(id); found.name != name && !yield(found) {
					return
				}
			}
		}
	}
}
