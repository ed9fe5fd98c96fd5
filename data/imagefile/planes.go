package imagefile

import (
	"image"
	"image/color"
)

// upsampled returns the picture of a JPEG or a lossy WebP, without its alpha channel, with its
// color planes upsampled by a triangle filter, as libjpeg and libwebp, and so PIL, do, and
// converted by rgb. Go's libraries repeat each color sample instead, which costs half a decibel in
// a small picture. The planes of pictures whose ratios are other than 1 and 2 are not interpolated.
func upsampled(img image.Image, rgb func(y, cb, cr uint8) (r, g, b uint8)) image.Image {
	if alpha, ok := img.(*image.NYCbCrA); ok {
		img = &alpha.YCbCr
	}
	planes, ok := img.(*image.YCbCr)
	if !ok {
		return img
	}
	size := planes.Rect.Size()
	var cb, cr []uint8
	switch planes.SubsampleRatio {
	case image.YCbCrSubsampleRatio420, image.YCbCrSubsampleRatio422:
		tall := planes.SubsampleRatio == image.YCbCrSubsampleRatio420
		cb = upsampledPlane(planes.Cb, planes.CStride, size, tall)
		cr = upsampledPlane(planes.Cr, planes.CStride, size, tall)
	}
	to := image.NewRGBA(image.Rectangle{Max: size})
	for y := range size.Y {
		luma, row := planes.Y[y*planes.YStride:][:size.X], to.Pix[y*to.Stride:][:4*size.X]
		for x, v := range luma {
			i, at := y*size.X+x, row[4*x:4*x+4:4*x+4]
			if cb != nil {
				at[0], at[1], at[2] = rgb(v, cb[i], cr[i])
			} else {
				c := planes.COffset(planes.Rect.Min.X+x, planes.Rect.Min.Y+y)
				at[0], at[1], at[2] = rgb(v, planes.Cb[c], planes.Cr[c])
			}
			at[3] = 0xff
		}
	}
	return to
}

// jpegRGB converts a color of JFIF, whose components have the full range.
func jpegRGB(y, cb, cr uint8) (r, g, b uint8) { return color.YCbCrToRGB(y, cb, cr) }

// webpRGB converts a color of WebP as libwebp does. Its components have the range of BT.601, with Y
// from 16 to 235, which Go's library does not take into account.
func webpRGB(y, cb, cr uint8) (r, g, b uint8) {
	times := func(v uint8, factor int) int { return int(v) * factor >> 8 }
	clip := func(v int) uint8 { return uint8(min(max(v>>6, 0), 255)) }
	luma := times(y, 19077)
	return clip(luma + times(cr, 26149) - 14234), clip(luma - times(cb, 6419) - times(cr, 13320) + 8708),
		clip(luma + times(cb, 33050) - 17685)
}

// upsampledPlane doubles a plane's width, and its height if tall is set. Each new sample is 3/4 of
// the nearest old one and 1/4 of the next, along each axis, rounded as libjpeg does.
func upsampledPlane(plane []uint8, stride int, size image.Point, tall bool) []uint8 {
	width, height := (size.X+1)/2, size.Y
	if tall {
		height = (size.Y + 1) / 2
	}
	to := make([]uint8, 0, size.X*size.Y)
	sums := make([]int, width) // of a row, 4 times the samples if tall
	for y := range size.Y {
		row := y
		if tall {
			row = y / 2
		}
		other := row
		if tall {
			other = min(max(row-1+2*(y%2), 0), height-1)
		}
		for x := range sums {
			sums[x] = int(plane[row*stride+x])
			if tall {
				sums[x] = 3*sums[x] + int(plane[other*stride+x])
			}
		}
		for x := range size.X {
			near := sums[x/2]
			next := sums[min(max(x/2-1+2*(x%2), 0), width-1)]
			sum := 3*near + next
			if tall {
				to = append(to, uint8((sum+8-x%2)>>4))
			} else {
				to = append(to, uint8((sum+1+x%2)>>2))
			}
		}
	}
	return to
}
