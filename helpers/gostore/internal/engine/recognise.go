package engine

import (
	"bufio"
	"errors"
	"io"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"syscall"

	"gostore/internal/wire"
)

const (
	// comparerName is the only order of keys that is taken: the order of bytes. Pebble and
	// LevelDB give it the same name.
	comparerName = "leveldb.BytewiseComparator"
	mergerName   = "pebble.concatenate"
	// optionsBytesMax is far above the few kilobytes of any OPTIONS file.
	optionsBytesMax = 1 << 20
)

// signs are the files that tell engines apart.
type signs struct {
	current, currentBackup     bool
	leveldbTables, pebbleFiles []string
	options                    []string // names of OPTIONS files, oldest first
	manifestMarker             bool
	format                     uint64 // from the format-version marker; 0 without one
}

func lookAt(path string) (signs, error) {
	entries, err := os.ReadDir(path)
	if errors.Is(err, syscall.ENOTDIR) {
		return signs{}, wire.Fail(wire.FailUnknownFormat, "recognise", "%s is a file", path)
	}
	if err != nil {
		return signs{}, fromOS("recognise", err)
	}
	var s signs
	var formatIteration uint64
	for _, entry := range entries {
		name := entry.Name()
		switch {
		case name == "CURRENT":
			s.current = true
		case name == "CURRENT.bak":
			s.currentBackup = true
		case strings.HasSuffix(name, ".ldb"):
			s.leveldbTables = append(s.leveldbTables, name)
		case strings.HasPrefix(name, "OPTIONS-"):
			s.options = append(s.options, name)
			s.pebbleFiles = append(s.pebbleFiles, name)
		case strings.HasPrefix(name, "marker.manifest."):
			s.manifestMarker = true
			s.pebbleFiles = append(s.pebbleFiles, name)
		case strings.HasPrefix(name, "marker.format-version."):
			s.pebbleFiles = append(s.pebbleFiles, name)
			parts := strings.Split(name, ".")
			if len(parts) != 4 {
				return s, wire.Fail(wire.FailUnknownFormat, "recognise", "marker %q", name)
			}
			iteration, err1 := strconv.ParseUint(parts[2], 10, 64)
			format, err2 := strconv.ParseUint(parts[3], 10, 64)
			if err := errors.Join(err1, err2); err != nil {
				return s, wire.Fail(wire.FailUnknownFormat, "recognise", "marker %q: %v", name, err)
			}
			if iteration >= formatIteration {
				formatIteration, s.format = iteration, format
			}
		case strings.HasPrefix(name, "marker.remote-obj-catalog."):
			return s, wire.Fail(wire.FailUnsupported, "recognise",
				"%s keeps tables in remote storage (%s)", path, name)
		}
	}
	sort.Strings(s.options)
	return s, nil
}

// Recognise refuses a directory that isn't the engine's, before the engine sees it: opened by the
// wrong engine a store can be emptied or converted in place without an error.
func Recognise(engine wire.Engine, path string) error {
	switch engine {
	case wire.EngineBbolt:
		return recogniseBbolt(path)
	case wire.EngineBadgerdb:
		return recogniseBadger(path)
	}
	s, err := lookAt(path)
	if err != nil {
		return err
	}
	refuse := func(kind wire.FailureKind, why string) error {
		return wire.Fail(kind, "recognise", "%s is no %s store: %s", path, engine, why)
	}
	if !s.current && !s.manifestMarker {
		return refuse(wire.FailNotFound, "it has neither CURRENT nor a manifest marker")
	}
	leveldb := s.currentBackup || len(s.leveldbTables) != 0
	if leveldb && len(s.pebbleFiles) != 0 {
		return refuse(wire.FailCorrupt, "two engines have touched it: "+s.pebbleFiles[0]+
			" is Pebble's, CURRENT.bak or .ldb files are LevelDB's")
	}
	if engine == wire.EngineGoleveldb {
		if len(s.pebbleFiles) != 0 {
			return refuse(wire.FailUnknownFormat, s.pebbleFiles[0]+" is Pebble's or RocksDB's")
		}
		return nil
	}
	if leveldb {
		return refuse(wire.FailUnknownFormat, "CURRENT.bak or .ldb files are LevelDB's")
	}
	if len(s.options) == 0 {
		return refuse(wire.FailUnknownFormat, "it has no OPTIONS file")
	}
	options, err := readOptions(filepath.Join(path, s.options[len(s.options)-1]))
	if err != nil {
		return err
	}
	return recognisePebble(engine, s, options, refuse)
}

func recognisePebble(
	engine wire.Engine, s signs, options map[string]string,
	refuse func(wire.FailureKind, string) error,
) error {
	if _, ok := options["Version.pebble_version"]; !ok {
		return refuse(wire.FailUnknownFormat, "its OPTIONS file isn't Pebble's (RocksDB?)")
	}
	if name := options["Options.comparer"]; name != comparerName {
		return refuse(wire.FailUnknownFormat, "its keys are ordered by "+strconv.Quote(name))
	}
	if name := options["Options.merger"]; name != mergerName {
		return refuse(wire.FailUnknownFormat, "its values are merged by "+strconv.Quote(name))
	}
	if dir := options["Options.wal_dir"]; dir != "" {
		return refuse(wire.FailUnsupported, "its log lies elsewhere, in "+strconv.Quote(dir))
	}
	if dir := options["WAL Failover.secondary_dir"]; dir != "" {
		return refuse(wire.FailUnsupported, "its log may lie elsewhere, in "+strconv.Quote(dir))
	}
	format := max(s.format, pebble1FormatMin)
	_, byVersion2 := options["Options.key_schema"] // Pebble 1 has no such option
	switch {
	case engine == wire.EnginePebble1 && byVersion2:
		return refuse(wire.FailUnknownFormat, "its OPTIONS file was written by Pebble 2")
	case engine == wire.EnginePebble1 && format > pebble1FormatMax,
		engine == wire.EnginePebble2 && (format < pebble2FormatMin || format > pebble2FormatMax):
		return refuse(wire.FailUnknownFormat, "its format version is "+
			strconv.FormatUint(format, 10))
	}
	return nil
}

// readOptions reads Pebble's or RocksDB's INI file into "Section.key" = value. Sections that
// repeat, such as levels, carry their name in the section and are of no interest here.
func readOptions(path string) (map[string]string, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, fromOS("recognise", err)
	}
	defer file.Close()
	options := map[string]string{}
	section := ""
	lines := bufio.NewScanner(io.LimitReader(file, optionsBytesMax))
	lines.Buffer(nil, optionsBytesMax)
	for lines.Scan() {
		line := strings.TrimSpace(lines.Text())
		if strings.HasPrefix(line, "[") && strings.HasSuffix(line, "]") {
			section = line[1 : len(line)-1]
			continue
		}
		if key, value, found := strings.Cut(line, "="); found {
			options[section+"."+strings.TrimSpace(key)] = strings.TrimSpace(value)
		}
	}
	return options, fromOS("recognise", lines.Err())
}
