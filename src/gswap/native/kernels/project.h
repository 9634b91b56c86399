// Gaussians -> image Gaussians, LANES at a time, and the way back for their gradients (splat/reference.py: project).
#pragma once
#include "simd.h"
#include "table.h"

namespace gswap {
namespace GSWAP_ISA {

constexpr float EPS_2D = 0.3f, ALPHA_MIN = 1.0f / 255.0f, FRUSTUM_MARGIN = 0.3f;
constexpr float LOG2_ALPHA_MIN = -7.99435343686f;
constexpr float HALF_LOG2_E = 0.72134752044f; // exp(-s / 2) = 2^(-HALF_LOG2_E s)
// Pixels, and relative to a width: lists may name too many Gaussians, never too few.
constexpr float SAFETY = 1e-3f;
constexpr float TINY_NORM2 = 1e-24f;          // squared norm below which a quaternion is no rotation

struct Footprint { // the projected covariance and what led to it
    vf z_inv, slope_x, slope_y;           // of the mean
    vf edge_x, edge_y;                    // slopes clamped to the frustum's margin
    vf qw, qx, qy, qz, q_inv;             // unit quaternion, 1 / norm of the given one
    vf s0, s1, s2;                        // scales
    vf r00, r01, r02, r10, r11, r12, r20, r21, r22;
    vf v00, v01, v02, v10, v11, v12;      // J R diag(s)
    vf xx, xy, yy, determinant;           // covariance in pixels^2
};

struct Limits {
    float low_x, high_x, low_y, high_y;
    GSWAP_INLINE explicit Limits(const View &view) {
        const float mx = FRUSTUM_MARGIN * 0.5f * float(view.width) / view.focal;
        const float my = FRUSTUM_MARGIN * 0.5f * float(view.height) / view.focal;
        low_x = -view.cx / view.focal - mx;
        high_x = (float(view.width) - view.cx) / view.focal + mx;
        low_y = -view.cy / view.focal - my;
        high_y = (float(view.height) - view.cy) / view.focal + my;
    }
};

GSWAP_INLINE Footprint footprint(float focal, const Limits &limits, vf x, vf y, vf z, vf uw, vf ux, vf uy, vf uz, vf s0,
                                 vf s1, vf s2) {
    Footprint p;
    p.z_inv = 1.0f / z;
    p.slope_x = x * p.z_inv;
    p.slope_y = y * p.z_inv;
    p.edge_x = min(max(p.slope_x, set1(limits.low_x)), set1(limits.high_x));
    p.edge_y = min(max(p.slope_y, set1(limits.low_y)), set1(limits.high_y));
    p.q_inv = 1.0f / root(max(uw * uw + ux * ux + uy * uy + uz * uz, set1(TINY_NORM2)));
    p.qw = uw * p.q_inv;
    p.qx = ux * p.q_inv;
    p.qy = uy * p.q_inv;
    p.qz = uz * p.q_inv;
    p.s0 = s0;
    p.s1 = s1;
    p.s2 = s2;
    p.r00 = 1.0f - 2.0f * (p.qy * p.qy + p.qz * p.qz);
    p.r01 = 2.0f * (p.qx * p.qy - p.qw * p.qz);
    p.r02 = 2.0f * (p.qx * p.qz + p.qw * p.qy);
    p.r10 = 2.0f * (p.qx * p.qy + p.qw * p.qz);
    p.r11 = 1.0f - 2.0f * (p.qx * p.qx + p.qz * p.qz);
    p.r12 = 2.0f * (p.qy * p.qz - p.qw * p.qx);
    p.r20 = 2.0f * (p.qx * p.qz - p.qw * p.qy);
    p.r21 = 2.0f * (p.qy * p.qz + p.qw * p.qx);
    p.r22 = 1.0f - 2.0f * (p.qx * p.qx + p.qy * p.qy);
    // Rows of J: f/z (1, 0, -edge_x) and f/z (0, 1, -edge_y).
    const vf j = focal * p.z_inv, j0 = j * s0, j1 = j * s1, j2 = j * s2;
    p.v00 = (p.r00 - p.edge_x * p.r20) * j0;
    p.v01 = (p.r01 - p.edge_x * p.r21) * j1;
    p.v02 = (p.r02 - p.edge_x * p.r22) * j2;
    p.v10 = (p.r10 - p.edge_y * p.r20) * j0;
    p.v11 = (p.r11 - p.edge_y * p.r21) * j1;
    p.v12 = (p.r12 - p.edge_y * p.r22) * j2;
    const vf plain_xx = p.v00 * p.v00 + p.v01 * p.v01 + p.v02 * p.v02;
    const vf plain_yy = p.v10 * p.v10 + p.v11 * p.v11 + p.v12 * p.v12;
    p.xx = plain_xx + EPS_2D;
    p.xy = p.v00 * p.v10 + p.v01 * p.v11 + p.v02 * p.v12;
    p.yy = plain_yy + EPS_2D;
    const vf c0 = p.v01 * p.v12 - p.v02 * p.v11, c1 = p.v02 * p.v10 - p.v00 * p.v12, c2 = p.v00 * p.v11 - p.v01 * p.v10;
    p.determinant = c0 * c0 + c1 * c1 + c2 * c2 + EPS_2D * (plain_xx + plain_yy) + EPS_2D * EPS_2D;
    return p;
}

// Upper triangular U with U^T U = HALF_LOG2_E S^-1: (a, b), (0, c).
struct Factor {
    vf a, b, c;
};

GSWAP_INLINE Factor factor(const Footprint &p) {
    const vf q = root(set1(HALF_LOG2_E) / (p.yy * p.determinant));
    return {p.yy * q, -p.xy * q, root(set1(HALF_LOG2_E) / p.yy)};
}

} // namespace GSWAP_ISA
} // namespace gswap
