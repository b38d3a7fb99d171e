// Package policies holds the ready-made policies, a file for each purpose: copy
// one, or give it to the server with --policies. `retryd dev` knows them all.
//
// It owns the files and nothing else; it must import nothing of this module.
package policies

import "embed"

// Files are the policy files of this directory.
//
//go:embed *.yaml
var Files embed.FS
