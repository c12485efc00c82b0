// Package wire is the framed, versioned protocol between Transload and this helper.
//
// The byte tables are in docs/formats/driver-protocol.md; testdata/frames.json holds vectors
// that both languages test. Nothing here touches an engine or a file.
package wire

// Version is the only protocol version that this helper speaks.
const Version uint16 = 3

// Magic opens a hello, so that a stray process that talks to our standard input is noticed.
const Magic = "TLGSTORE"

const (
	// KeyBytesMax is the longest key that is carried: the longest seen in a node's database has
	// 70,021 bytes, and a forged length must not allocate gigabytes.
	KeyBytesMax = 16 << 20
	// ValueBytesMax is the longest value that is carried; the largest seen in a node's database
	// is a snapshot chunk of 16 MiB.
	ValueBytesMax = 256 << 20
	// FrameBytesMax is the longest payload of a frame: one entry of the largest key and value,
	// and a batch of operations around it.
	FrameBytesMax = KeyBytesMax + ValueBytesMax + 32<<20
	// ControlFrameBytesMax is the longest payload on the control socket.
	ControlFrameBytesMax = 64 << 10
	// DataFrameBytesTarget is where a sender of a stream ends a data frame. A single larger
	// entry makes a larger frame.
	DataFrameBytesTarget = 1 << 20
	// PathBytesMax is the longest path that is taken.
	PathBytesMax = 4096
	// TextBytesMax is where the text of an error is cut.
	TextBytesMax = 8 << 10
	// GetKeysMax is the largest number of keys in one get of many.
	GetKeysMax = 4096
	// BatchOpsMax is the largest number of changes in one batch.
	BatchOpsMax = 16 << 20
)

// readStepBytes is how much memory a frame may claim before its bytes have arrived.
const readStepBytes = 4 << 20
