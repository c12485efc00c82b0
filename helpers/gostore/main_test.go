package main

import (
	"errors"
	"net"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"gostore/internal/wire"
)

// asHelper makes the test binary be the helper.
const asHelper = "GOSTORE_TEST_AS_HELPER"

func TestMain(m *testing.M) {
	if os.Getenv(asHelper) != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

func spawn(t *testing.T, stdin *os.File) *exec.Cmd {
	t.Helper()
	helper := exec.Command(os.Args[0])
	helper.Env = append(os.Environ(), asHelper+"=1")
	helper.Stdin = stdin
	if err := helper.Start(); err != nil {
		t.Fatal(err)
	}
	return helper
}

func exitCode(t *testing.T, helper *exec.Cmd) int {
	t.Helper()
	ended := make(chan error, 1)
	go func() { ended <- helper.Wait() }()
	select {
	case err := <-ended:
		var exit *exec.ExitError
		if err != nil && !errors.As(err, &exit) {
			t.Fatal(err)
		}
		return helper.ProcessState.ExitCode()
	case <-time.After(30 * time.Second):
		_ = helper.Process.Kill()
		t.Fatal("the helper outlives its standard input")
		return -1
	}
}

func spawnGreeted(t *testing.T) (*exec.Cmd, net.Conn) {
	t.Helper()
	descriptors, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	syscall.CloseOnExec(descriptors[0])
	ours, theirs := os.NewFile(uintptr(descriptors[0]), ""), os.NewFile(uintptr(descriptors[1]), "")
	helper := spawn(t, theirs)
	conn, err := net.FileConn(ours)
	if err := errors.Join(err, ours.Close(), theirs.Close()); err != nil {
		t.Fatal(err)
	}
	if err := wire.WriteFrame(conn, wire.KindHello, wire.Hello{VersionMin: wire.Version, VersionMax: wire.Version}.Encode()); err != nil {
		t.Fatal(err)
	}
	frame, _, err := wire.ReadFrame(conn, wire.ControlFrameBytesMax, nil)
	if err != nil || frame.Kind != wire.KindHelloReply {
		t.Fatal(frame, err)
	}
	return helper, conn
}

func TestTheHelperEndsWithItsStandardInput(t *testing.T) {
	helper, conn := spawnGreeted(t)
	_ = conn.Close()
	if code := exitCode(t, helper); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

func TestSignalsOfATerminalDoNotEndTheHelper(t *testing.T) {
	helper, conn := spawnGreeted(t)
	for _, signal := range []os.Signal{syscall.SIGINT, syscall.SIGHUP, syscall.SIGTERM} {
		if err := helper.Process.Signal(signal); err != nil {
			t.Fatal(err)
		}
	}
	if err := wire.WriteFrame(conn, wire.KindAttach, nil); err != nil { // without a socket
		t.Fatal(err)
	}
	if frame, _, err := wire.ReadFrame(conn, wire.ControlFrameBytesMax, nil); err != nil || frame.Kind != wire.KindError {
		t.Errorf("%+v, %v", frame, err)
	}
	if code := exitCode(t, helper); code != exitProtocol {
		t.Errorf("exit code %d", code)
	}
}

func TestAStandardInputThatIsNoSocketIsRefused(t *testing.T) {
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	if code := exitCode(t, spawn(t, null)); code != exitUsage {
		t.Errorf("exit code %d", code)
	}
}
