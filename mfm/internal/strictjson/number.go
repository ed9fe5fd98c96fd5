package strictjson

import (
	"fmt"
	"math"
	"reflect"
	"strconv"
	"strings"
)

// number sets v to the number that text writes.
func number(v reflect.Value, text string) error {
	bits := v.Type().Bits()
	if v.CanFloat() {
		f, err := strconv.ParseFloat(text, bits)
		if err != nil {
			return fmt.Errorf("%s is out of range: use at most %.2g in magnitude", short(text),
				map[int]float64{32: math.MaxFloat32, 64: math.MaxFloat64}[bits])
		}
		if mantissa, _, _ := strings.Cut(strings.ToLower(text), "e"); f == 0 && strings.ContainsAny(mantissa, "123456789") {
			return fmt.Errorf("%s is too small for a number of %d bits: use 0, or more", short(text), bits)
		}
		v.SetFloat(f)
		return nil
	}
	whole, ok := integer(text)
	if !ok {
		return &Error{Err: fmt.Errorf("%s where an integer is required", short(text))}
	}
	if v.CanInt() {
		i, err := strconv.ParseInt(whole, 10, bits)
		if err != nil {
			return fmt.Errorf("%s is out of range: use an integer in [%d, %d]", short(text),
				int64(math.MinInt64)>>(64-bits), int64(math.MaxInt64)>>(64-bits))
		}
		v.SetInt(i)
		return nil
	}
	u, err := strconv.ParseUint(whole, 10, bits)
	if err != nil {
		return fmt.Errorf("%s is out of range: use an integer in [0, %d]", short(text), uint64(math.MaxUint64)>>(64-bits))
	}
	v.SetUint(u)
	return nil
}

// integer returns the digits of a JSON number that is an integer. A number with more than 30
// trailing zeros is cut to 30, which is still out of range. It reports false for other numbers.
func integer(text string) (digits string, ok bool) {
	sign := ""
	if text[0] == '-' {
		sign, text = "-", text[1:]
	}
	mantissa, exponent, _ := strings.Cut(strings.ToLower(text), "e")
	whole, fraction, _ := strings.Cut(mantissa, ".")
	digits = strings.TrimLeft(strings.TrimRight(whole+fraction, "0"), "0")
	if digits == "" {
		return "0", true
	}
	shift := 0
	if exponent != "" {
		var err error
		if shift, err = strconv.Atoi(exponent); err != nil { // more than an int holds
			shift = math.MaxInt / 2
			if exponent[0] == '-' {
				shift = -shift
			}
		}
	}
	// Zeros that follow the digits.
	zeros := shift - len(fraction) + len(whole+fraction) - len(strings.TrimRight(whole+fraction, "0"))
	if zeros < 0 {
		return "", false
	}
	return sign + digits + strings.Repeat("0", min(zeros, 30)), true
}
