package serve

import (
	"net"
	"sync"

	"gostore/internal/engine"
	"gostore/internal/wire"
)

// snapshotsMax bounds the snapshots that are held at once.
const snapshotsMax = 1024

type phase int

const (
	phaseFresh phase = iota // nothing opened yet
	phaseOpening
	phaseOpen
	phaseClosing
	phaseClosed
	phaseBroken // an operation panicked or the engine's background work failed
)

// server holds the one store of the process and the sockets that ask for it.
type server struct {
	mu          sync.Mutex
	idle        *sync.Cond // told whenever a request ends
	phase       phase
	requests    int // under way, without open and close
	store       engine.Store
	views       map[uint32]*lease
	lastView    uint32
	connections map[net.Conn]struct{}
}

// lease is a snapshot and those who use it. It is closed when it was released and nobody uses it.
type lease struct {
	view     engine.View
	users    int
	released bool
}

func newServer() *server {
	s := &server{views: map[uint32]*lease{}, connections: map[net.Conn]struct{}{}}
	s.idle = sync.NewCond(&s.mu)
	return s
}

func (s *server) isClosed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.phase == phaseFresh || s.phase == phaseClosed
}

// serve answers conn in a goroutine of its own, or tells it that there are too many.
func (s *server) serve(conn net.Conn) {
	s.mu.Lock()
	full := len(s.connections) >= connectionsMax
	if !full {
		s.connections[conn] = struct{}{}
	}
	s.mu.Unlock()
	go func() {
		defer conn.Close()
		if full {
			_ = refuse(conn, wire.Fail(wire.FailLimit, "attach",
				"%d sockets are attached, which is the limit", connectionsMax))
			return
		}
		(&session{server: s, conn: conn}).run()
		s.mu.Lock()
		delete(s.connections, conn)
		s.mu.Unlock()
	}()
}

// begin admits a request on the open store. The caller calls end.
func (s *server) begin(operation string) (engine.Store, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.phase != phaseOpen {
		return nil, s.refusal(operation)
	}
	s.requests++
	return s.store, nil
}

func (s *server) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests--
	s.idle.Broadcast()
}

func (s *server) refusal(operation string) error {
	switch s.phase {
	case phaseBroken:
		return wire.Fail(wire.FailInternal, operation,
			"an earlier operation failed in a way that leaves the store unusable")
	case phaseClosing, phaseClosed:
		return wire.Fail(wire.FailInvalidInput, operation, "the store is closed")
	case phaseOpen:
		return wire.Fail(wire.FailInvalidInput, operation, "a store is open already")
	}
	return wire.Fail(wire.FailInvalidInput, operation, "no store is open")
}

// breakDown ends all use of the store: after a panic its locks and structures can't be trusted.
func (s *server) breakDown() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.phase = phaseBroken
}

func (s *server) open(request wire.Open) (engine.Store, error) {
	s.mu.Lock()
	if s.phase != phaseFresh {
		defer s.mu.Unlock()
		return nil, s.refusal("open")
	}
	s.phase = phaseOpening
	s.mu.Unlock()

	limitMemory(request.MemoryBytesMax)
	store, err := engine.Open(request)
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		s.phase = phaseFresh
		return nil, err
	}
	s.store, s.phase = store, phaseOpen
	return store, nil
}

// close closes the store for the socket that asks. Whoever still reads or loads is cut off.
func (s *server) close(asking net.Conn, check bool) error {
	s.mu.Lock()
	if s.phase != phaseOpen {
		defer s.mu.Unlock()
		return s.refusal("close")
	}
	s.phase = phaseClosing
	for conn := range s.connections {
		if conn != asking {
			_ = conn.Close()
		}
	}
	for s.requests > 0 {
		s.idle.Wait()
	}
	store, views := s.store, s.views
	s.views = nil
	s.mu.Unlock()

	for _, lease := range views {
		if err := lease.view.Close(); err != nil {
			return err
		}
	}
	if err := store.Close(check); err != nil {
		failure := wire.Malformed("close", err)
		failure.EffectUnknown = true
		s.breakDown()
		return failure
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.phase == phaseClosing {
		s.phase = phaseClosed
	}
	return nil
}

// keep registers a snapshot, or closes it when there are too many.
func (s *server) keep(view engine.View) (uint32, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.views) >= snapshotsMax || s.lastView == ^uint32(0) {
		_ = view.Close()
		return 0, wire.Fail(wire.FailLimit, "snapshot", "%d snapshots are held, which is the limit",
			len(s.views))
	}
	s.lastView++
	s.views[s.lastView] = &lease{view: view}
	return s.lastView, nil
}

// use gives the view of a snapshot. The caller calls done.
func (s *server) use(operation string, id uint32) (*lease, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	held, known := s.views[id]
	if !known || held.released {
		return nil, wire.Fail(wire.FailInvalidInput, operation, "there is no snapshot %d", id)
	}
	held.users++
	return held, nil
}

func (s *server) done(id uint32, held *lease) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	held.users--
	return s.closeUnused(id, held)
}

func (s *server) release(id uint32) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	held, known := s.views[id]
	if !known || held.released {
		return wire.Fail(wire.FailInvalidInput, "release", "there is no snapshot %d", id)
	}
	held.released = true
	return s.closeUnused(id, held)
}

func (s *server) closeUnused(id uint32, held *lease) error {
	if !held.released || held.users > 0 {
		return nil
	}
	delete(s.views, id)
	return held.view.Close()
}
