package script

import (
	"errors"
	"fmt"
	"strings"
)

func parseLookupd(lookupd string, w *words) (Act, error) {
	l := Lookup{Lookupd: lookupd}
	switch verb := w.next(); verb {
	case "lists":
		return parseLists(l, w)
	case "knows":
		if !w.is("nothing") {
			return nil, errors.New("a lookupd lists daemons, or knows nothing")
		}
		l.How = LookupUnknown
		return l, nil
	case "answers":
		var err error
		l.How = LookupRaw
		if l.Status, err = w.number(); err != nil {
			return nil, err
		}
		l.Body, err = w.body()
		return l, err
	case "hangs":
		l.How = LookupHangs
		return l, nil
	case "is":
		if !w.is("stock") {
			return nil, errors.New("a lookupd is stock, or ours")
		}
		l.How = LookupStock
		return l, nil
	case "asked":
		a := Asked{Lookupd: lookupd}
		if w.is("for") {
			a.For = w.next()
		}
		return a, nil
	case "starts", "stops":
		return Power{lookupd, verb == "starts"}, nil
	default:
		return nil, fmt.Errorf("a lookupd does not do %q", verb)
	}
}

// parseLists reads daemons with commas between them, each with its zone and
// region, if they matter, as A@zone@region.
func parseLists(l Lookup, w *words) (Act, error) {
	for name := range strings.SplitSeq(w.next(), ",") {
		parts := append(strings.Split(name, "@"), "", "")
		if !IsDaemon(parts[0]) {
			return nil, fmt.Errorf("%q is no daemon", name)
		}
		l.Daemons = append(l.Daemons, Producer{Daemon: parts[0], Zone: parts[1], Region: parts[2]})
	}
	return l, nil
}
