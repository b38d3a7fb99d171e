// Package mistakes collects what is wrong with files that people write: all of it at
// once, each with its line, in the order of the lines, but no more than anybody reads.
//
// It must import nothing of this module.
package mistakes

import (
	"errors"
	"fmt"
	"slices"
)

// shown is how many mistakes are told. Whoever gives the wrong file makes one a line, and
// would look for the first of thousands.
const shown = 20

// List collects the mistakes of one file. Make it with [In].
type List struct {
	file  string
	found []mistake
	// more is how many there are besides.
	more int
}

type mistake struct {
	line int
	err  error
}

// In is the empty list of a file.
func In(file string) *List { return &List{file: file} }

// Add takes a mistake on a line; what is wrong with the file as a whole stands on line 0.
func (l *List) Add(line int, format string, args ...any) {
	if len(l.found) == shown {
		l.more++
		return
	}
	at := l.file
	if line > 0 {
		at = fmt.Sprintf("%s:%d", l.file, line)
	}
	l.found = append(l.found, mistake{line, fmt.Errorf("%s: %w", at, fmt.Errorf(format, args...))})
}

// Err returns the mistakes as an error of a line each, nil where there are none.
func (l *List) Err() error {
	slices.SortStableFunc(l.found, func(a, b mistake) int { return a.line - b.line })
	var errs []error
	for _, m := range l.found {
		errs = append(errs, m.err)
	}
	return listed(l.file, errs, l.more)
}

// Join joins the errors of what is in one place, such as the files of a directory. Of
// those of [List.Err], too, it tells no more than of one file. It returns nil where all of
// them are nil.
func Join(place string, errs ...error) error {
	var all []error
	more := 0
	for _, err := range errs {
		if l, ok := errors.AsType[*list](err); ok {
			all = append(all, l.errs...)
			more += l.more
		} else if err != nil {
			all = append(all, err)
		}
	}
	if n := len(all); n > shown {
		all, more = all[:shown], more+n-shown
	}
	return listed(place, all, more)
}

// list is the error of several mistakes.
type list struct {
	joined error
	errs   []error
	place  string
	more   int
}

func listed(place string, errs []error, more int) error {
	if len(errs) == 0 {
		return nil
	}
	return &list{errors.Join(errs...), errs, place, more}
}

// Error has a line for each mistake that is told.
func (l *list) Error() string {
	if l.more == 0 {
		return l.joined.Error()
	}
	return fmt.Sprintf("%v\n%s: and %d more", l.joined, l.place, l.more)
}

// Unwrap returns the mistakes that are told.
func (l *list) Unwrap() []error { return l.errs }
