// Written by scripts/fit_exp2.py: a quintic for 2^f on [-1/2, 1/2].
#pragma once
#define EXP2_C0 0x1.0000020000000p+0f
#define EXP2_C1 0x1.62e4280000000p-1f
#define EXP2_C2 0x1.ebf9180000000p-3f
#define EXP2_C3 0x1.c6b6e60000000p-5f
#define EXP2_C4 0x1.3d0c520000000p-7f
#define EXP2_C5 0x1.5c08e60000000p-10f
#define EXP2_ERROR 2.5e-07f // largest relative error in float32 arithmetic
