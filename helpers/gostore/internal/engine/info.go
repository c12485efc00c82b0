package engine

import (
	"runtime/debug"

	"gostore/internal/wire"
)

// Info lists the engines of this helper.
func Info() []wire.EngineInfo {
	const takesTables = wire.CapReadOnly | wire.CapWrite | wire.CapTables
	return []wire.EngineInfo{
		{
			Engine: wire.EngineGoleveldb, Capabilities: wire.CapWrite | wire.CapBulk,
			Module: module("github.com/syndtr/goleveldb"),
		},
		{
			Engine: wire.EnginePebble1, Capabilities: takesTables,
			Module:    module("github.com/cockroachdb/pebble"),
			FormatMin: uint32(pebble1FormatMin), FormatMax: uint32(pebble1FormatMax),
			FormatNew: uint32(pebble1FormatMin),
		},
		{
			Engine: wire.EnginePebble2, Capabilities: takesTables,
			Module:    module("github.com/cockroachdb/pebble/v2"),
			FormatMin: uint32(pebble2FormatMin), FormatMax: uint32(pebble2FormatMax),
			FormatNew: uint32(pebble2FormatMin),
		},
		{
			Engine: wire.EngineBbolt, Capabilities: wire.CapWrite,
			Module:    module("go.etcd.io/bbolt"),
			FormatMin: bboltFormat, FormatMax: bboltFormat, FormatNew: bboltFormat,
		},
		{
			Engine: wire.EngineBadgerdb, Capabilities: wire.CapReadOnly | wire.CapWrite | wire.CapBulk,
			Module:    module("github.com/dgraph-io/badger/v4"),
			FormatMin: badgerFormat, FormatMax: badgerFormat, FormatNew: badgerFormat,
		},
	}
}

// module is the path and version of a module as it was built in. Test binaries carry no versions.
func module(path string) string {
	if build, ok := debug.ReadBuildInfo(); ok {
		for _, dependency := range build.Deps {
			if dependency.Path == path {
				return path + " " + dependency.Version
			}
		}
	}
	return path
}
