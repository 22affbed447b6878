// Why this exists: the inner loop of TV-L1, where nearly all of its time goes, as one sweep over memory per iteration.
using System.Runtime.CompilerServices;

namespace CoCLR.Engine.Flow;

/// <summary>What an iteration at one level reads and writes; all planes have the same size.</summary>
internal readonly unsafe struct TvL1State
{
    /// <summary>Flow in x and y, pixels.</summary>
    public required Plane U { get; init; }

    public required Plane V { get; init; }

    /// <summary>Dual variable of u: x and y component.</summary>
    public required Plane P11 { get; init; }

    public required Plane P12 { get; init; }

    /// <summary>Dual variable of v: x and y component.</summary>
    public required Plane P21 { get; init; }

    public required Plane P22 { get; init; }

    /// <summary>Gradient of the warped second frame.</summary>
    public required Plane GradX { get; init; }

    public required Plane GradY { get; init; }

    /// <summary>Part of the residual that is constant within a warp.</summary>
    public required Plane RhoConstant { get; init; }

    /// <summary>-1 / squared gradient length, or zero where there is no gradient.</summary>
    public required Plane NegativeInverse { get; init; }

    /// <summary>One row: 1 where a pixel has a right neighbour, else 0.</summary>
    public required float* HasRight { get; init; }

    /// <summary>One row of scratch: squared change per column.</summary>
    public required float* Change { get; init; }
}

/// <summary>The kernels, for any register width.</summary>
/// <typeparam name="T">The lanes to compute with.</typeparam>
internal static unsafe class TvL1Kernels<T>
    where T : struct, ILanes<T>
{
    /// <summary>One iteration: thresholding of the residual, primal update, dual update.</summary>
    /// <param name="s">The level.</param>
    /// <param name="theta">Coupling.</param>
    /// <param name="lambdaTheta">λθ: the largest step of the thresholding.</param>
    /// <param name="tauTheta">τ/θ: step of the dual update.</param>
    /// <returns>Sum of squared changes of the flow. Summed in a fixed order, so that it does not depend on the register width.</returns>
    public static double Iterate(in TvL1State s, float theta, float lambdaTheta, float tauTheta)
    {
        var width = s.U.Width;
        var height = s.U.Height;
        new Span<float>(s.Change, s.U.Span).Clear();

        // The dual update of a row needs the new flow of the row below it, and the primal update of a row needs the old dual of the row
        // above: one row behind is just right, and the rows are still in the cache.
        PrimalRow(s, 0, theta, lambdaTheta);
        for (var y = 1; y < height; y++)
        {
            PrimalRowAndDualRowAbove(s, y, theta, lambdaTheta, tauTheta);
        }

        LastDualRow(s, tauTheta);

        var sum = 0.0;
        for (var x = 0; x < width; x++)
        {
            sum += s.Change[x];
        }

        return sum;
    }

    /// <summary>Constants of a warp: residual without its flow-dependent part, and the inverse squared gradient.</summary>
    /// <param name="s">The level; its gradients are filled.</param>
    /// <param name="first">The first frame.</param>
    /// <param name="warped">The second frame, warped.</param>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Residual(in TvL1State s, Plane first, Plane warped)
    {
        var minusOne = T.Broadcast(-1f);
        var smallest = T.Broadcast(1.1920929e-7f);
        for (var y = 0; y < first.Height; y++)
        {
            var u = s.U.Row(y);
            var v = s.V.Row(y);
            var gx = s.GradX.Row(y);
            var gy = s.GradY.Row(y);
            var i0 = first.Row(y);
            var i1 = warped.Row(y);
            var rho = s.RhoConstant.Row(y);
            var inverse = s.NegativeInverse.Row(y);
            for (var x = 0; x < first.Span; x += T.Count)
            {
                var ix = T.Load(gx + x);
                var iy = T.Load(gy + x);
                var square = T.Fma(ix, ix, iy * iy);
                T.Store(inverse + x, T.WhereGreater(square, smallest, minusOne / square));
                var linear = T.Fma(ix, T.Load(u + x), iy * T.Load(v + x));
                T.Store(rho + x, T.Load(i1 + x) - linear - T.Load(i0 + x));
            }
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void PrimalRow(in TvL1State s, int y, float theta, float lambdaTheta)
    {
        var u = s.U.Row(y);
        var v = s.V.Row(y);
        var p11 = s.P11.Row(y);
        var p12 = s.P12.Row(y);
        var p12Above = s.P12.Row(y - 1);
        var p21 = s.P21.Row(y);
        var p22 = s.P22.Row(y);
        var p22Above = s.P22.Row(y - 1);
        var gx = s.GradX.Row(y);
        var gy = s.GradY.Row(y);
        var rhoConstant = s.RhoConstant.Row(y);
        var inverse = s.NegativeInverse.Row(y);
        var change = s.Change;
        var span = s.U.Span;
        var t = T.Broadcast(theta);
        var most = T.Broadcast(lambdaTheta);
        var least = T.Broadcast(-lambdaTheta);
        for (var x = 0; x < span; x += T.Count)
        {
            var u0 = T.Load(u + x);
            var v0 = T.Load(v + x);
            var ix = T.Load(gx + x);
            var iy = T.Load(gy + x);
            var rho = T.Fma(iy, v0, T.Fma(ix, u0, T.Load(rhoConstant + x)));
            var step = T.Min(T.Max(rho * T.Load(inverse + x), least), most);
            var divergence1 = T.Load(p11 + x) - T.Load(p11 + x - 1) + (T.Load(p12 + x) - T.Load(p12Above + x));
            var divergence2 = T.Load(p21 + x) - T.Load(p21 + x - 1) + (T.Load(p22 + x) - T.Load(p22Above + x));
            var du = T.Fma(step, ix, t * divergence1);
            var dv = T.Fma(step, iy, t * divergence2);
            T.Store(u + x, u0 + du);
            T.Store(v + x, v0 + dv);
            T.Store(change + x, T.Fma(dv, dv, T.Fma(du, du, T.Load(change + x))));
        }
    }

    // In one loop, because the primal update waits for memory and the dual update for the divider. The planes share one stride, so that one
    // pointer a plane and two indices reach both rows: more pointers than that do not fit into the registers.
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void PrimalRowAndDualRowAbove(in TvL1State s, int y, float theta, float lambdaTheta, float tauTheta)
    {
        var u = s.U.Row(y);
        var v = s.V.Row(y);
        var p11 = s.P11.Row(y);
        var p12 = s.P12.Row(y);
        var p21 = s.P21.Row(y);
        var p22 = s.P22.Row(y);
        var gx = s.GradX.Row(y);
        var gy = s.GradY.Row(y);
        var rhoConstant = s.RhoConstant.Row(y);
        var inverse = s.NegativeInverse.Row(y);
        var hasRight = s.HasRight;
        var change = s.Change;
        nint span = s.U.Span;
        nint above = -s.U.Stride;
        var t = T.Broadcast(theta);
        var most = T.Broadcast(lambdaTheta);
        var least = T.Broadcast(-lambdaTheta);
        var taut = T.Broadcast(tauTheta);
        var one = T.Broadcast(1f);
        for (nint x = 0; x < span; x += T.Count, above += T.Count)
        {
            var u0 = T.Load(u + x);
            var v0 = T.Load(v + x);
            var ix = T.Load(gx + x);
            var iy = T.Load(gy + x);
            var rho = T.Fma(iy, v0, T.Fma(ix, u0, T.Load(rhoConstant + x)));
            var step = T.Min(T.Max(rho * T.Load(inverse + x), least), most);
            var p12Above = T.Load(p12 + above);
            var p22Above = T.Load(p22 + above);
            var divergence1 = T.Load(p11 + x) - T.Load(p11 + x - 1) + (T.Load(p12 + x) - p12Above);
            var divergence2 = T.Load(p21 + x) - T.Load(p21 + x - 1) + (T.Load(p22 + x) - p22Above);
            var du = T.Fma(step, ix, t * divergence1);
            var dv = T.Fma(step, iy, t * divergence2);
            u0 += du;
            v0 += dv;
            T.Store(u + x, u0);
            T.Store(v + x, v0);
            T.Store(change + x, T.Fma(dv, dv, T.Fma(du, du, T.Load(change + x))));

            var right = T.Load(hasRight + x);
            var uAbove = T.Load(u + above);
            var vAbove = T.Load(v + above);
            var ux = (T.Load(u + above + 1) - uAbove) * right;
            var uy = u0 - uAbove;
            var vx = (T.Load(v + above + 1) - vAbove) * right;
            var vy = v0 - vAbove;
            var norm1 = T.Fma(taut, T.Sqrt(T.Fma(ux, ux, uy * uy)), one);
            var norm2 = T.Fma(taut, T.Sqrt(T.Fma(vx, vx, vy * vy)), one);

            // One division for both: dividing is what this loop would wait for.
            var reciprocal = one / (norm1 * norm2);
            var reciprocal1 = reciprocal * norm2;
            var reciprocal2 = reciprocal * norm1;
            T.Store(p11 + above, T.Fma(taut, ux, T.Load(p11 + above)) * reciprocal1);
            T.Store(p12 + above, T.Fma(taut, uy, p12Above) * reciprocal1);
            T.Store(p21 + above, T.Fma(taut, vx, T.Load(p21 + above)) * reciprocal2);
            T.Store(p22 + above, T.Fma(taut, vy, p22Above) * reciprocal2);
        }
    }

    // Nothing lies below: differences in y are zero, and the y components stay what they are, zero.
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void LastDualRow(in TvL1State s, float tauTheta)
    {
        var y = s.U.Height - 1;
        var u = s.U.Row(y);
        var v = s.V.Row(y);
        var p11 = s.P11.Row(y);
        var p21 = s.P21.Row(y);
        var taut = T.Broadcast(tauTheta);
        var one = T.Broadcast(1f);
        var zero = T.Broadcast(0f);
        for (var x = 0; x < s.U.Span; x += T.Count)
        {
            var right = T.Load(s.HasRight + x);
            var ux = (T.Load(u + x + 1) - T.Load(u + x)) * right;
            var vx = (T.Load(v + x + 1) - T.Load(v + x)) * right;
            var norm1 = T.Fma(taut, T.Max(ux, zero - ux), one);
            var norm2 = T.Fma(taut, T.Max(vx, zero - vx), one);
            T.Store(p11 + x, T.Fma(taut, ux, T.Load(p11 + x)) / norm1);
            T.Store(p21 + x, T.Fma(taut, vx, T.Load(p21 + x)) / norm2);
        }
    }
}
