package journal

// SizeOfHeaders are the sizes of a segment's and a record's header, for tests
// that damage files.
const (
	SegmentHeaderSize = segmentHeaderSize
	RecordHeaderSize  = recordHeaderSize
)
