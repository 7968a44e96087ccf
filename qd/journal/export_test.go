package journal

// Sizes of headers, for tests that damage files.
const (
	SegmentHeaderSize = segmentHeaderSize
	RecordHeaderSize  = recordHeaderSize
)

// Reseal makes the CRC of a header right again.
var Reseal = reseal
