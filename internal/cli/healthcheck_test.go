package cli_test

import (
	"testing"
)

func TestHealthcheck(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.run("healthcheck").wants(0).golden("healthcheck")
	})
}
