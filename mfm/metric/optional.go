package metric

import (
	"encoding/json"
	"math"
)

// Optional is a number that may be undefined, such as the [Excess] over a distribution that is a
// point. The zero value is undefined. A field with the JSON option omitzero is absent if it is
// undefined, and undefined if it is absent: JSON has no NaN, and an absent number is not zero.
type Optional struct {
	value   float64
	defined bool
}

// Some returns the number v, undefined if v is NaN.
func Some(v float64) Optional {
	if math.IsNaN(v) {
		return Optional{}
	}
	return Optional{v, true}
}

// Float returns the number, NaN if it is undefined.
func (o Optional) Float() float64 {
	if !o.defined {
		return math.NaN()
	}
	return o.value
}

// IsZero reports whether the number is undefined, in which case the option omitzero omits it.
func (o Optional) IsZero() bool { return !o.defined }

// MarshalJSON writes the number, null if it is undefined. It returns an error if it is infinite.
func (o Optional) MarshalJSON() ([]byte, error) {
	if !o.defined {
		return []byte("null"), nil
	}
	return json.Marshal(o.value)
}

// UnmarshalJSON reads a number, or null as undefined.
func (o *Optional) UnmarshalJSON(raw []byte) error {
	var v *float64
	if err := json.Unmarshal(raw, &v); err != nil {
		return err
	}
	if *o = (Optional{}); v != nil {
		*o = Some(*v)
	}
	return nil
}
