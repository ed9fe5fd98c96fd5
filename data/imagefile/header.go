package imagefile

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"image"
	"image/jpeg"
	"image/png"
)

// jpegInfo reads the header of a JPEG. EXIF is in a segment APP1 before the first scan.
func jpegInfo(content []byte) (info, error) {
	config, err := jpeg.DecodeConfig(bytes.NewReader(content))
	if err != nil {
		return info{}, err
	}
	out := sized(config)
	const app1, startOfScan = 0xe1, 0xda
	for b := content[2:]; len(b) >= 4 && b[0] == 0xff && b[1] != startOfScan; {
		if b[1] == 0xff { // padding
			b = b[1:]
			continue
		}
		length := 2 + int(binary.BigEndian.Uint16(b[2:]))
		if length < 4 || length > len(b) {
			break
		}
		if exif, ok := bytes.CutPrefix(b[4:length], []byte("Exif\x00\x00")); ok && b[1] == app1 {
			out.exif = exif
			break
		}
		b = b[length:]
	}
	return out, nil
}

// pngInfo reads the header of a PNG. A chunk acTL makes it an animation, a chunk eXIf has EXIF.
func pngInfo(content []byte) (info, error) {
	config, err := png.DecodeConfig(bytes.NewReader(content))
	if err != nil {
		return info{}, err
	}
	out := sized(config)
	const frame = 12 // length, type and checksum
	for b := content[8:]; len(b) >= frame; {
		length := int64(binary.BigEndian.Uint32(b))
		if length > int64(len(b)-frame) {
			break // truncated, which the decoder reports
		}
		switch string(b[4:8]) {
		case "acTL":
			out.animated = true
		case "eXIf":
			out.exif = b[8 : 8+length]
		}
		b = b[frame+length:]
	}
	return out, nil
}

// webpInfo reads the chunks of a WebP. The size of the frame must be that of the canvas: the
// decoder relies on it.
func webpInfo(content []byte) (out info, err error) {
	if len(content) < 12 || string(content[8:12]) != "WEBP" {
		return out, errors.New("a RIFF file of another kind")
	}
	var canvas, frame image.Point
	for b := content[12:]; len(b) >= 8; {
		length := int64(binary.LittleEndian.Uint32(b[4:]))
		if length > int64(len(b)-8) { // the decoder allocates what a chunk promises
			return out, errors.New("it ends within a chunk")
		}
		body := b[8 : 8+length]
		switch kind := string(b[:4]); {
		case kind == "VP8X" && len(body) >= 10:
			canvas = image.Pt(1+int(uint24(body[4:])), 1+int(uint24(body[7:])))
			out.animated = body[0]&0x02 != 0
		case kind == "VP8 " && len(body) >= 10 && frame == image.Point{}:
			width, height := binary.LittleEndian.Uint16(body[6:]), binary.LittleEndian.Uint16(body[8:])
			frame = image.Pt(int(width&0x3fff), int(height&0x3fff))
		case kind == "VP8L" && len(body) >= 5 && frame == image.Point{}:
			bits := binary.LittleEndian.Uint32(body[1:])
			frame = image.Pt(1+int(bits&0x3fff), 1+int(bits>>14&0x3fff))
		case kind == "EXIF":
			out.exif = bytes.TrimPrefix(body, []byte("Exif\x00\x00"))
		}
		b = b[min(8+length+length%2, int64(len(b))):]
	}
	if out.animated {
		return out, nil
	}
	if frame == (image.Point{}) {
		return out, errors.New("it ends before its pixels")
	}
	if canvas != (image.Point{}) && canvas != frame {
		return out, fmt.Errorf("a frame of %dx%d pixels on a canvas of %dx%d", frame.Y, frame.X, canvas.Y, canvas.X)
	}
	out.height, out.width = frame.Y, frame.X
	return out, nil
}

func uint24(b []byte) uint32 { return uint32(b[0]) | uint32(b[1])<<8 | uint32(b[2])<<16 }

func sized(config image.Config) info { return info{height: config.Height, width: config.Width} }
