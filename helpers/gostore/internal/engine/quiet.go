package engine

import (
	"fmt"
	"os"
	"sync"
)

// quietLogger drops an engine's chatter. Fatal messages go to standard error, whose end Transload
// shows, and stop the process: the engine relies on not returning from them.
type quietLogger struct{}

func (quietLogger) Infof(string, ...any)  {}
func (quietLogger) Errorf(string, ...any) {}
func (quietLogger) Fatalf(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "engine: "+format+"\n", args...)
	os.Exit(exitEngineFatal)
}

// exitEngineFatal is EX_SOFTWARE of sysexits.h.
const exitEngineFatal = 70

// trouble tells that a flush or compaction failed. Pebble tries again for ever, and whoever waits
// for it (a write, a flush, a close) waits for ever: the first failure is the end of the store.
type trouble struct {
	once  sync.Once
	first error
	told  chan struct{}
}

func newTrouble() *trouble { return &trouble{told: make(chan struct{})} }

func (t *trouble) record(err error) {
	t.once.Do(func() {
		t.first = err
		close(t.told)
	})
}

// Trouble is closed once the store can't go on; TroubleErr says why.
func (t *trouble) Trouble() <-chan struct{} { return t.told }

// TroubleErr is what Trouble told of.
func (t *trouble) TroubleErr() error {
	failure := classify("flush or compaction", t.first)
	failure.EffectUnknown = true
	return failure
}
