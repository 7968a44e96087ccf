package httpapi

import (
	"net/http"

	"github.com/millrace-mq/millrace/internal/access"
)

// NameOf returns what p calls who sends a request; empty if it knows nobody by name, or not
// him.
func NameOf(req *http.Request, p access.Policy) string {
	if by, ok := p.(interface{ Identify(who access.Who) string }); ok {
		return by.Identify(whoOf(req))
	}
	return ""
}
