package main

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/retryd/retryd/server/access"
)

// tokenBytes is how many random bytes a token has: nobody guesses them.
const tokenBytes = 32

func newTokenCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "token",
		Short: "Make bearer tokens for the access file",
		Args:  cobra.NoArgs,
	}
	cmd.AddCommand(&cobra.Command{
		Use:   "new NAME",
		Short: "Print a new random token, and the line by which the access file knows it",
		Long: `Prints a new random token, and the line of its digest for the access file of
"serve --access". The token itself is kept nowhere: give it to its bearer by a safe way.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			name := args[0]
			if !access.ValidName(name) || strings.ContainsAny(name, `{}[]"',:#`) {
				return fmt.Errorf("the name is %q: it must be 1 to 255 printable characters, without those that mean something in YAML", name)
			}
			secret := make([]byte, tokenBytes)
			_, _ = rand.Read(secret) // never fails
			token := "rt_" + base64.RawURLEncoding.EncodeToString(secret)
			_, err := fmt.Fprintf(cmd.OutOrStdout(), "# the token, for its bearer alone:\n%s\n# under tokens in the access file:\n- {name: %s, sha256: %x}\n",
				token, name, sha256.Sum256([]byte(token)))
			return err
		},
	})
	return cmd
}
