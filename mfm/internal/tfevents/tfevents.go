// Package tfevents encodes event files of TensorBoard: TFRecords, each a message Event of
// TensorFlow's event.proto.
package tfevents

import (
	"encoding/binary"
	"hash/crc32"
	"math"

	"google.golang.org/protobuf/encoding/protowire"
)

// Scalar is a number with the name under which TensorBoard draws it.
type Scalar struct {
	Tag   string
	Value float32
}

// Fields of the messages Event, Summary and Summary.Value.
const (
	eventWallTime    protowire.Number = 1
	eventStep        protowire.Number = 2
	eventFileVersion protowire.Number = 3
	eventSummary     protowire.Number = 5
	summaryValue     protowire.Number = 1
	valueTag         protowire.Number = 1
	valueSimpleValue protowire.Number = 2
)

// AppendHeader appends the event that a file begins with, at a time in seconds since 1970.
func AppendHeader(file []byte, wallTime float64) []byte {
	event := appendDouble(nil, eventWallTime, wallTime)
	event = protowire.AppendTag(event, eventFileVersion, protowire.BytesType)
	return appendRecord(file, protowire.AppendString(event, "brain.Event:2"))
}

// AppendScalars appends the event of a step at a time in seconds since 1970.
func AppendScalars(file []byte, wallTime float64, step int64, scalars ...Scalar) []byte {
	var summary []byte
	for _, s := range scalars {
		value := protowire.AppendTag(nil, valueTag, protowire.BytesType)
		value = protowire.AppendString(value, s.Tag)
		value = protowire.AppendTag(value, valueSimpleValue, protowire.Fixed32Type)
		value = protowire.AppendFixed32(value, math.Float32bits(s.Value))
		summary = protowire.AppendTag(summary, summaryValue, protowire.BytesType)
		summary = protowire.AppendBytes(summary, value)
	}
	event := appendDouble(nil, eventWallTime, wallTime)
	event = protowire.AppendTag(event, eventStep, protowire.VarintType)
	event = protowire.AppendVarint(event, uint64(step))
	event = protowire.AppendTag(event, eventSummary, protowire.BytesType)
	return appendRecord(file, protowire.AppendBytes(event, summary))
}

func appendDouble(message []byte, field protowire.Number, v float64) []byte {
	return protowire.AppendFixed64(protowire.AppendTag(message, field, protowire.Fixed64Type), math.Float64bits(v))
}

// appendRecord appends a TFRecord: the length of the data, its checksum, the data, and their
// checksum.
func appendRecord(file, data []byte) []byte {
	length := binary.LittleEndian.AppendUint64(nil, uint64(len(data)))
	file = binary.LittleEndian.AppendUint32(append(file, length...), maskedCRC(length))
	return binary.LittleEndian.AppendUint32(append(file, data...), maskedCRC(data))
}

// maskedCRC returns the CRC-32C of data, rotated by 15 bits and shifted, as TFRecords have it.
func maskedCRC(data []byte) uint32 {
	crc := crc32.Checksum(data, crc32.MakeTable(crc32.Castagnoli))
	return (crc>>15 | crc<<17) + 0xa282ead8
}
