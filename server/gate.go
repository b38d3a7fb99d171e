package server

import (
	"strings"

	retryv1 "github.com/retryd/retryd/gen/retry/v1"
	"github.com/retryd/retryd/scheduler"
)

// gate lets everything pass once the server is open, and before that what needs
// no store: health, reflection, and what the server is.
func (s *Server) gate(method string) error {
	if s.opened.Load() || !strings.HasPrefix(method, "/"+apiPackage) || method == retryv1.ServerService_GetServerInfo_FullMethodName {
		return nil
	}
	return &scheduler.Error{Kind: scheduler.KindUnavailable, Message: "the store has not been reached yet"}
}
