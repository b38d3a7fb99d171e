package redisstore

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
)

// A policy or job is kept as its revision, a blank, and the rest as JSON: so a
// script compares the revision without reading what follows.

func encodeResource(kind, id string, revision int64, stored any) (string, error) {
	text, err := json.Marshal(stored)
	if err != nil {
		return "", fmt.Errorf("encode %s %s: %w", kind, id, err)
	}
	return strconv.FormatInt(revision, 10) + " " + string(text), nil
}

func decodeResource(kind, kept string, stored any) (revision int64, err error) {
	number, text, _ := strings.Cut(kept, " ")
	if revision, err = strconv.ParseInt(number, 10, 64); err != nil {
		return 0, fmt.Errorf("revision of a %s in redis: %w", kind, err)
	}
	if err := json.Unmarshal([]byte(text), stored); err != nil {
		return 0, fmt.Errorf("%s in redis: %w", kind, err)
	}
	return revision, nil
}

// otherFormat is the error of a resource that another version has written.
func otherFormat(kind, id string, format, known int) error {
	return fmt.Errorf("%s %s in redis has format %d, and this version of retryd reads format %d only", kind, id, format, known)
}
