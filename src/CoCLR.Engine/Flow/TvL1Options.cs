// Why this exists: the parameters of TV-L1 under their published names, with OpenCV's defaults, which the paper's flow was made with.
using System.Globalization;
using CoCLR.Core;

namespace CoCLR.Engine.Flow;

/// <summary>
/// Parameters of TV-L1 optical flow (Zach, Pock and Bischof 2007; Sánchez, Meinhardt-Llopis and Facciolo 2013). The defaults are those of
/// OpenCV's
/// DualTVL1 (method.md 1f), which needs no tuning for 8-bit video.
/// </summary>
public sealed record TvL1Options
{
    /// <summary>
    /// A shorter schedule: one warp per level and two short rounds of iterations. Four to five times as fast; on real video the mean
    /// difference to the defaults was 0.04 to 0.18 pixel, about the step of the stored flow (40/255 pixel).
    /// </summary>
    public static TvL1Options Fast { get; } = new() { Warps = 1, InnerIterations = 10, OuterIterations = 2 };

    /// <summary>Time step of the dual update; stable up to 0.25.</summary>
    public float Tau { get; init; } = 0.25f;

    /// <summary>Weight of the data term: smaller gives smoother flow.</summary>
    public float Lambda { get; init; } = 0.15f;

    /// <summary>Tightness of the coupling between the data term and the smooth flow.</summary>
    public float Theta { get; init; } = 0.3f;

    /// <summary>Most pyramid levels; levels with a side under 16 pixels are left out.</summary>
    public int Scales { get; init; } = 5;

    /// <summary>Size of a level relative to the one below it, in (0, 1).</summary>
    public float ScaleStep { get; init; } = 0.8f;

    /// <summary>Warps of the second frame per level.</summary>
    public int Warps { get; init; } = 5;

    /// <summary>A warp ends when the flow's root-mean-square change in one iteration is below this many pixels.</summary>
    public float Epsilon { get; init; } = 0.01f;

    /// <summary>Iterations between two median filters.</summary>
    public int InnerIterations { get; init; } = 30;

    /// <summary>Median filters per warp, each followed by <see cref="InnerIterations"/>.</summary>
    public int OuterIterations { get; init; } = 10;

    /// <summary>Side of the median filter's window: 1 (none), 3 or 5.</summary>
    public int MedianFiltering { get; init; } = 5;

    /// <summary>
    /// Start the coarsest level of a pair from the flow of the pair before it instead of from zero. Not part of the published algorithm,
    /// hence off: it helps steady motion that is too fast for the pyramid, and makes the pairs of a video depend on one another.
    /// </summary>
    public bool WarmStart { get; init; }

    /// <summary>Checks every value.</summary>
    /// <exception cref="UserErrorException">A value is outside its range (exit code 78); the message names it.</exception>
    public void Validate()
    {
        Require(Tau is > 0 and <= 0.25f, nameof(Tau), Tau, "in (0, 0.25]");
        Require(Lambda is > 0 and <= 100, nameof(Lambda), Lambda, "in (0, 100]");
        Require(Theta is > 0 and <= 100, nameof(Theta), Theta, "in (0, 100]");
        Require(Scales is >= 1 and <= 64, nameof(Scales), Scales, "1 to 64");
        Require(ScaleStep is >= 0.1f and <= 0.99f, nameof(ScaleStep), ScaleStep, "0.1 to 0.99");
        Require(Warps is >= 1 and <= 1000, nameof(Warps), Warps, "1 to 1000");
        Require(Epsilon is >= 0 and <= 100, nameof(Epsilon), Epsilon, "0 to 100");
        Require(InnerIterations is >= 1 and <= 10000, nameof(InnerIterations), InnerIterations, "1 to 10000");
        Require(OuterIterations is >= 1 and <= 10000, nameof(OuterIterations), OuterIterations, "1 to 10000");
        Require(MedianFiltering is 1 or 3 or 5, nameof(MedianFiltering), MedianFiltering, "1, 3 or 5");
    }

    private static void Require<T>(bool holds, string name, T value, string range)
    {
        if (!holds)
        {
            var text = string.Create(
                CultureInfo.InvariantCulture, $"flow.tvl1.{char.ToLowerInvariant(name[0])}{name[1..]} is {value} but must be {range}.");
            throw new UserErrorException(text, ExitCodes.BadConfiguration);
        }
    }
}
