package data

// Summary describes a set of images by a few numbers.
type Summary struct {
	Count       int     `json:"count"`        // number of images
	Shape       []int   `json:"shape"`        // of one image: [height, width, channels]
	ClassCounts []int   `json:"class_counts"` // per class; null without labels
	Mean        float64 `json:"mean"`         // of all pixels, each in [-1, 1]
	Variance    float64 `json:"variance"`     // about the mean image, see [Images.Variance]
}

// Inspect reads a pair of IDX files as [ReadPair] does and summarizes them.
func Inspect(imagesPath, labelsPath string) (*Summary, error) {
	m, err := ReadPair(imagesPath, labelsPath)
	if err != nil {
		return nil, err
	}
	return m.Summary()
}

// Summary summarizes m. It returns an error if m does not satisfy [Images.Validate].
func (m *Images) Summary() (*Summary, error) {
	if err := m.Validate(); err != nil {
		return nil, err
	}
	var counts []int
	if m.Labels != nil {
		var err error
		if counts, err = m.ClassCounts(m.Classes()); err != nil {
			return nil, err
		}
	}
	image := m.Mean()
	variance, err := m.Variance(image)
	if err != nil {
		return nil, err
	}
	mean := 0.0
	for _, v := range image {
		mean += float64(v) / float64(len(image))
	}
	return &Summary{
		Count:       m.N,
		Shape:       []int{m.Height, m.Width, m.Channels},
		ClassCounts: counts,
		Mean:        mean,
		Variance:    variance,
	}, nil
}
