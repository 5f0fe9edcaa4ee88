//! Blocks as integers: the layouts of ggml's `ggml-common.h`, the meaning of `ggml-quants.c`.

use half::f16;

use crate::quant::DType;

/// A block whose numbers are `d * scale * code + m * min`.
#[derive(Debug)]
pub(super) struct Block {
    pub(super) d: f32,
    pub(super) m: f32,
    pub(super) has_min: bool,
    /// Signed codes in row order; 32 or 256 of them count.
    pub(super) codes: [i8; 256],
    /// Per 16 numbers.
    pub(super) scales: [i8; 16],
    /// Per 16 numbers.
    pub(super) mins: [u8; 16],
}

impl Default for Block {
    fn default() -> Self {
        Self { d: 0.0, m: 0.0, has_min: false, codes: [0; 256], scales: [1; 16], mins: [0; 16] }
    }
}

impl Block {
    /// Reads a block of this type, which the caller uses for no other.
    pub(super) fn read(&mut self, dtype: DType, b: &[u8]) {
        match dtype {
            DType::Q4_0 => self.nibbles(half(b, 0), None, &b[2..18], |q| q as i8 - 8),
            DType::Q4_1 => self.nibbles(half(b, 0), Some(half(b, 2)), &b[4..20], |q| q as i8),
            DType::IQ4_NL => self.nibbles(half(b, 0), None, &b[2..18], |q| IQ4_CODES[q as usize]),
            DType::MXFP4 => self.nibbles(half_e8m0(b[0]), None, &b[1..17], |q| MXFP4_CODES[q as usize]),
            DType::Q5_0 => {
                self.nibbles(half(b, 0), None, &b[6..22], |q| q as i8 - 16);
                self.fifth_bits(&b[2..6]);
            }
            DType::Q5_1 => {
                self.nibbles(half(b, 0), Some(half(b, 2)), &b[8..24], |q| q as i8);
                self.fifth_bits(&b[4..8]);
            }
            DType::Q8_0 => {
                self.d = half(b, 0);
                copy_signed(&mut self.codes[..32], &b[2..34]);
            }
            DType::Q2_K => self.q2_k(b),
            DType::Q3_K => self.q3_k(b),
            DType::Q4_K => self.q4_k(b, &b[16..144], None),
            DType::Q5_K => self.q4_k(b, &b[48..176], Some(&b[16..48])),
            DType::Q6_K => self.q6_k(b),
            DType::IQ4_XS => self.iq4_xs(b),
            _ => debug_assert!(false, "{dtype} has no blocks"),
        }
    }

    /// Byte `j` holds numbers `j` and `j + 16`.
    fn nibbles(&mut self, d: f32, m: Option<f32>, qs: &[u8], code: impl Fn(u8) -> i8) {
        self.d = d;
        if let Some(m) = m {
            (self.m, self.has_min, self.mins) = (m, true, [1; 16]);
        }
        for (j, &q) in qs.iter().enumerate() {
            self.codes[j] = code(q & 15);
            self.codes[j + 16] = code(q >> 4);
        }
    }

    fn fifth_bits(&mut self, qh: &[u8]) {
        for (i, code) in self.codes[..32].iter_mut().enumerate() {
            *code += (qh[i / 8] >> (i % 8) & 1) as i8 * 16;
        }
    }

    fn q2_k(&mut self, b: &[u8]) {
        (self.d, self.m, self.has_min) = (half(b, 80), -half(b, 82), true);
        for (g, &s) in b[..16].iter().enumerate() {
            self.scales[g] = (s & 15) as i8;
            self.mins[g] = s >> 4;
        }
        for (i, code) in self.codes.iter_mut().enumerate() {
            *code = two_bits(&b[16..80], i) as i8;
        }
    }

    fn q3_k(&mut self, b: &[u8]) {
        let (high, qs, scales) = (&b[..32], &b[32..96], &b[96..108]);
        self.d = half(b, 108);
        for (j, scale) in self.scales.iter_mut().enumerate() {
            let low = scales[j % 8] >> (4 * (j / 8)) & 15;
            let top = scales[8 + j % 4] >> (2 * (j / 4)) & 3;
            *scale = (low | top << 4) as i8 - 32;
        }
        for (i, code) in self.codes.iter_mut().enumerate() {
            let keep = high[i % 32] >> (i / 32) & 1;
            *code = two_bits(qs, i) as i8 - if keep == 1 { 0 } else { 4 };
        }
    }

    /// Q4_K, and with its plane of fifth bits Q5_K.
    fn q4_k(&mut self, b: &[u8], qs: &[u8], qh: Option<&[u8]>) {
        (self.d, self.m, self.has_min) = (half(b, 0), -half(b, 2), true);
        let s = &b[4..16];
        for g in 0..16 {
            let j = g / 2;
            let (scale, min) = if j < 4 {
                (s[j] & 63, s[j + 4] & 63)
            } else {
                (s[j + 4] & 15 | (s[j - 4] >> 6) << 4, s[j + 4] >> 4 | (s[j] >> 6) << 4)
            };
            (self.scales[g], self.mins[g]) = (scale as i8, min);
        }
        for (i, code) in self.codes.iter_mut().enumerate() {
            let (j, l) = (i / 32, i % 32);
            let low = qs[32 * (j / 2) + l] >> (4 * (j % 2)) & 15;
            let top = qh.map_or(0, |qh| qh[l] >> j & 1);
            *code = (low | top << 4) as i8;
        }
    }

    fn q6_k(&mut self, b: &[u8]) {
        let (ql, qh) = (&b[..128], &b[128..192]);
        self.d = half(b, 208);
        copy_signed(&mut self.scales, &b[192..208]);
        for (i, code) in self.codes.iter_mut().enumerate() {
            let (h, g, l) = (i / 128, i % 128 / 32, i % 32);
            let low = ql[64 * h + 32 * (g % 2) + l] >> (4 * (g / 2)) & 15;
            let top = qh[32 * h + l] >> (2 * g) & 3;
            *code = (low | top << 4) as i8 - 32;
        }
    }

    fn iq4_xs(&mut self, b: &[u8]) {
        let (high, low, qs) = (u16::from_le_bytes([b[2], b[3]]), &b[4..8], &b[8..136]);
        self.d = half(b, 0);
        for (g, scale) in self.scales.iter_mut().enumerate() {
            let j = g / 2;
            let top = (high >> (2 * j) & 3) as u8;
            *scale = (low[j / 2] >> (4 * (j % 2)) & 15 | top << 4) as i8 - 32;
        }
        for (i, code) in self.codes.iter_mut().enumerate() {
            let (j, l) = (i / 32, i % 32);
            *code = IQ4_CODES[(qs[16 * j + l % 16] >> (4 * (l / 16)) & 15) as usize];
        }
    }
}

/// The levels of IQ4_NL and IQ4_XS.
const IQ4_CODES: [i8; 16] = [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113];

/// Twice the numbers of E2M1.
const MXFP4_CODES: [i8; 16] = [0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12];

/// Two bits of number `i`: byte `i % 32` of each 32 bytes holds four numbers, 32 apart.
fn two_bits(qs: &[u8], i: usize) -> u8 {
    qs[32 * (i / 128) + i % 32] >> (2 * (i % 128 / 32)) & 3
}

fn half(b: &[u8], at: usize) -> f32 {
    f16::from_le_bytes([b[at], b[at + 1]]).to_f32()
}

/// `2^(e - 128)`: half of what E8M0 means, for the codes are doubled. The two lowest are subnormal.
fn half_e8m0(e: u8) -> f32 {
    f32::from_bits(if e < 2 { 0x0020_0000 << e } else { (u32::from(e) - 1) << 23 })
}

fn copy_signed(to: &mut [i8], from: &[u8]) {
    for (to, &from) in to.iter_mut().zip(from) {
        *to = from as i8;
    }
}
