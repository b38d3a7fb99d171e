package access

import (
	"context"
	"errors"
	"time"

	"github.com/MicahParks/keyfunc/v3"
	"github.com/golang-jwt/jwt/v5"
)

// JWTConfig says which JWTs are taken. All of its fields are needed.
type JWTConfig struct {
	// JWKS is where the keys are: a file, or an https URL (http to loopback alone).
	JWKS string
	// Issuer is what iss must be, Audience what aud must have.
	Issuer, Audience string
}

// leeway is how far the clock of an issuer may be off.
const leeway = 30 * time.Second

// algorithms are those of the signatures that are taken: none that need a secret,
// and not none.
func algorithms() []string {
	return []string{
		jwt.SigningMethodRS256.Alg(), jwt.SigningMethodPS256.Alg(),
		jwt.SigningMethodES256.Alg(), jwt.SigningMethodEdDSA.Alg(),
	}
}

// jwts checks JWTs against the keys of an issuer.
type jwts struct {
	*keySet
	keys   keyfunc.Keyfunc
	parser *jwt.Parser
}

// newJWTs checks the settings, and reads the keys where they are in a file.
func newJWTs(cfg JWTConfig) (*jwts, error) {
	var errs []error
	if cfg.JWKS == "" {
		errs = append(errs, errors.New("JWTs are taken, but it is not said where their keys are (JWKS)"))
	}
	if cfg.Issuer == "" {
		errs = append(errs, errors.New("the issuer of JWTs is missing: one of another issuer must not be taken"))
	}
	if cfg.Audience == "" {
		errs = append(errs, errors.New("the audience of JWTs is missing: one that was issued for another service must not be taken"))
	}
	set, err := newKeySet(cfg.JWKS)
	errs = append(errs, err)
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	j := &jwts{keySet: set, parser: jwt.NewParser(
		jwt.WithValidMethods(algorithms()),
		jwt.WithIssuer(cfg.Issuer), jwt.WithAudience(cfg.Audience),
		jwt.WithExpirationRequired(), jwt.WithLeeway(leeway),
	)}
	if j.keys, err = keyfunc.New(keyfunc.Options{Storage: set.storage}); err != nil {
		return nil, err
	}
	return j, nil
}

// caller is whom a JWT proves.
func (j *jwts) caller(ctx context.Context, r *roster, bearer string) (*Caller, *DeniedError) {
	claims, keys := jwt.MapClaims{}, j.kids.Load()
	parsed, err := j.parser.ParseWithClaims(bearer, claims, func(t *jwt.Token) (any, error) {
		// What it names there must be understood, and nothing of it is.
		if t.Header["crit"] != nil {
			return nil, errCritical
		}
		kid, _ := t.Header["kid"].(string)
		// Without a name every key would be tried, at the price of each.
		if kid == "" {
			return nil, errNoKID
		}
		if !j.knows(kid) && !j.learn(ctx, kid) {
			return nil, errUnknownKey
		}
		return j.keys.KeyfuncCtx(ctx)(t)
	})
	if err != nil {
		denial := refusedJWT(err)
		// Whose it was is told of one that is good but for its age.
		if others := errors.Is(err, jwt.ErrTokenInvalidIssuer) || errors.Is(err, jwt.ErrTokenInvalidAudience); denial.Reason == Expired && !others {
			if subject, err := claims.GetSubject(); err == nil && ValidName(subject) {
				denial.Identity = "jwt:" + subject
			}
		}
		return nil, denial
	}
	subject, err := claims.GetSubject()
	if err != nil || !ValidName(subject) {
		return nil, &DeniedError{Reason: InvalidToken, Message: "the token names no subject (sub) that an identity can have"}
	}
	expires, err := claims.GetExpirationTime()
	if err != nil || expires == nil {
		return nil, &DeniedError{Reason: InvalidToken, Message: "the token does not say when it expires (exp)"}
	}
	kid, _ := parsed.Header["kid"].(string)
	c := &Caller{
		Name: "jwt:" + subject, names: []string{"jwt:" + subject}, claims: claims,
		kid: kid, keys: keys, expires: expires.Add(leeway), of: r,
	}
	c.grants = r.grants(c.names, claims)
	return c, nil
}

var (
	errNoKID      = errors.New("no kid")
	errUnknownKey = errors.New("unknown key")
	errCritical   = errors.New("critical extensions")
)

// refusedJWT says what is wrong with a JWT, in words of our own: those of the
// library repeat what was sent.
func refusedJWT(err error) *DeniedError {
	for _, row := range []struct {
		is      error
		reason  string
		message string
	}{
		{jwt.ErrTokenMalformed, UnknownToken, "the token is not known, nor is it a JWT"},
		{errCritical, InvalidToken, "the token has extensions (crit) that are not known here"},
		{errNoKID, InvalidToken, "the token does not name its key (kid)"},
		{errUnknownKey, InvalidToken, "the token is signed by a key that is not known"},
		{jwt.ErrTokenSignatureInvalid, InvalidToken, "the token's signature does not hold, or is of an algorithm that is not taken"},
		{jwt.ErrTokenUnverifiable, InvalidToken, "the token's key does not fit its algorithm"},
		{jwt.ErrTokenExpired, Expired, "the token has expired"},
		{jwt.ErrTokenNotValidYet, InvalidToken, "the token is not valid yet"},
		{jwt.ErrTokenInvalidIssuer, InvalidToken, "the token is of another issuer"},
		{jwt.ErrTokenInvalidAudience, InvalidToken, "the token is meant for another audience"},
		{jwt.ErrTokenRequiredClaimMissing, InvalidToken, "the token lacks a claim that is needed: exp, iss or aud"},
	} {
		if errors.Is(err, row.is) {
			return &DeniedError{Reason: row.reason, Message: row.message}
		}
	}
	return &DeniedError{Reason: InvalidToken, Message: "the token is not valid"}
}
