// Why this exists: on a GPU the stored bytes are shipped and augmented there, in batches, instead of floats that are seven times as large.
using CoCLR.Engine.Flow;
using static TorchSharp.torch;

namespace CoCLR.Engine.Video.Augmentation;

/// <summary>
/// The operations of <see cref="ClipAugmenter"/> as batched tensor operations on any device. Resizing and blur are batched matrix products
/// with one weight matrix a clip; values are rounded to levels where Pillow rounds, so that both implementations agree within two levels.
/// </summary>
public static class TorchAugmentation
{
    private const long ChunkBytes = 1L << 30;

    /// <summary>Augments clips.</summary>
    /// <param name="frames">uint8 [N, T, H, W, 3] (RGB, or flow images) or [N, T, H, W, 2] (flow u, v). Crops lie within H x W.</param>
    /// <param name="transforms">N transforms; all with the same <see cref="ClipTransform.Via"/>.</param>
    /// <param name="size">Side S of the output.</param>
    /// <param name="flow">True for flow: a flip may negate u.</param>
    /// <returns>float32 [N, 3, T, S, S], normalised, contiguous, on the frames' device.</returns>
    /// <exception cref="ArgumentException">Shapes do not fit.</exception>
    public static Tensor Apply(Tensor frames, ReadOnlySpan<ClipTransform> transforms, int size, bool flow)
    {
        if (frames.dim() != 5 || frames.shape[0] != transforms.Length || frames.shape[4] is not (2 or 3))
        {
            throw new ArgumentException(
                $"Frames [{string.Join(", ", frames.shape)}] do not fit {transforms.Length} transforms: [N, T, H, W, 2 or 3] is needed.",
                nameof(frames));
        }

        foreach (var transform in transforms)
        {
            var crop = transform.Crop;
            if (crop.X < 0 || crop.Y < 0 || crop.X + crop.Width > frames.shape[3] || crop.Y + crop.Height > frames.shape[2]
                || transform.Via != transforms[0].Via)
            {
                throw new ArgumentException($"The crop {crop} lies outside the frames, or transforms differ in Via.", nameof(transforms));
            }
        }

        using var noGrad = no_grad();
        var (clips, length) = (frames.shape[0], frames.shape[1]);
        var result = empty([clips, 3, length, size, size], float32, frames.device);
        var bytesPerClip = sizeof(float) * length * 3 * Math.Max(
            frames.shape[2] * frames.shape[3], Math.Max(size, transforms[0].Via) * (long)Math.Max(size, transforms[0].Via));
        var chunk = (int)Math.Clamp(ChunkBytes / (4 * bytesPerClip), 1, clips);
        for (var start = 0; start < clips; start += chunk)
        {
            var count = (int)Math.Min(chunk, clips - start);
            using var scope = NewDisposeScope();
            var part = transforms.Slice(start, count);
            var images = Resize(frames.narrow(0, start, count), part, size);
            NegateFlow(images, part, flow);
            ScaleFlow(images, part, flow);
            Jitter(images, part);
            Gray(images, part);
            Blur(images, part);
            Normalize(images, result.narrow(0, start, count));
        }

        return result;
    }

    /// <summary>[n, T, H, W, C] bytes to [n, T, 3, S, S] whole-numbered floats, mirrored where asked.</summary>
    private static Tensor Resize(Tensor frames, ReadOnlySpan<ClipTransform> transforms, int size)
    {
        var channels = frames.shape[4];
        var planes = frames.permute(0, 1, 4, 2, 3).to_type(ScalarType.Float32).contiguous();
        var via = transforms[0].Via;
        if (via == 0)
        {
            planes = ResizePlanes(planes, transforms, size, false, true);
        }
        else
        {
            planes = ResizePlanes(planes, transforms, via, false, true);
            planes = ResizePlanes(planes, transforms, size, true, false);
        }

        if (channels == 3)
        {
            return planes;
        }

        var red = full([planes.shape[0], planes.shape[1], 1, size, size], 128f, device: planes.device);
        return cat([red, planes.narrow(2, 1, 1), planes.narrow(2, 0, 1)], 2);
    }

    private static Tensor ResizePlanes(Tensor planes, ReadOnlySpan<ClipTransform> transforms, int size, bool whole, bool mirror)
    {
        var (n, t, c, height, width) = (planes.shape[0], planes.shape[1], planes.shape[2], (int)planes.shape[3], (int)planes.shape[4]);
        var horizontal = new float[n * size * width];
        var vertical = new float[n * size * height];
        for (var i = 0; i < n; i++)
        {
            var crop = whole ? new CropBox(0, 0, width, height) : transforms[i].Crop;
            new ResampleWeights(crop.Width, size, mirror && transforms[i].Flip)
                .WriteDense(horizontal.AsSpan(i * size * width, size * width), width, crop.X);
            new ResampleWeights(crop.Height, size).WriteDense(vertical.AsSpan(i * size * height, size * height), height, crop.Y);
        }

        var across = tensor(horizontal, [n, size, width]).SendTo(planes.device).transpose(1, 2);
        var down = tensor(vertical, [n, size, height]).SendTo(planes.device).transpose(1, 2);
        var rows = ToLevels(bmm(planes.reshape(n, t * c * height, width), across));
        var columns = rows.reshape(n, t * c, height, size).transpose(2, 3).reshape(n, t * c * size, height);
        return ToLevels(bmm(columns, down)).reshape(n, t, c, size, size).transpose(3, 4).contiguous();
    }

    private static void NegateFlow(Tensor images, ReadOnlySpan<ClipTransform> transforms, bool flow)
    {
        if (flow && Indices(transforms, t => t.Flip && t.NegateFlippedFlow) is { Length: > 0 } flipped)
        {
            var at = tensor(flipped).SendTo(images.device);
            var u = images.select(2, 2);
            var chosen = u.index_select(0, at);
            u.index_copy_(0, at, where(chosen == FlowQuantizer.NoMotion, chosen, 255 - chosen));
        }
    }

    private static void ScaleFlow(Tensor images, ReadOnlySpan<ClipTransform> transforms, bool flow)
    {
        if (flow && Indices(transforms, t => t.FlowScale != 1) is { Length: > 0 })
        {
            var factors = new float[transforms.Length];
            for (var i = 0; i < factors.Length; i++)
            {
                factors[i] = transforms[i].FlowScale;
            }

            var motion = images.narrow(2, 1, 2);
            motion.copy_(
                (
                    (motion - 127.5f) * tensor(factors, [factors.Length, 1, 1, 1, 1])
                        .SendTo(images.device)).add_(128f).floor_().clamp_(0, 255));
        }
    }

    private static void Jitter(Tensor images, ReadOnlySpan<ClipTransform> transforms)
    {
        var jittered = Indices(transforms, t => t.Jitter is not null);
        if (jittered.Length == 0)
        {
            return;
        }

        var jitters = Array.ConvertAll(jittered.ToArray(), _ => default(ColorJitter));
        for (var i = 0; i < jitters.Length; i++)
        {
            jitters[i] = transforms[(int)jittered[i]].Jitter!.Value;
        }

        var all = tensor(jittered).SendTo(images.device);
        var clips = images.index_select(0, all);
        // Orders differ from clip to clip: at each position the clips are taken together that apply the same operation.
        for (var position = 0; position < 4; position++)
        {
            foreach (var operation in Enum.GetValues<ColorOperation>())
            {
                long[] same =
                    [.. Enumerable.Range(0, jitters.Length).Where(i => jitters[i].At(position) == operation).Select(i => (long)i)];
                if (same.Length == 0)
                {
                    continue;
                }

                using var scope = NewDisposeScope();
                var at = tensor(same).SendTo(images.device);
                float[] factors = [.. same.Select(i => jitters[i].Factor(operation))];
                clips.index_copy_(0, at, Adjust(clips.index_select(0, at), operation, factors));
            }
        }

        images.index_copy_(0, all, clips);
    }

    private static Tensor Adjust(Tensor clips, ColorOperation operation, float[] factors)
    {
        if (operation == ColorOperation.Hue)
        {
            float[] shifts = [.. factors.Select(f => new ColorStep(operation, f).HueShift)];
            return ShiftHue(clips, tensor(shifts, [shifts.Length, 1, 1, 1]).SendTo(clips.device));
        }

        var factor = tensor(factors, [factors.Length, 1, 1, 1, 1]).SendTo(clips.device);
        var from = operation switch
        {
            ColorOperation.Brightness => zeros(1, device: clips.device),
            ColorOperation.Contrast => Luma(clips).mean([3, 4], keepdim: true).add_(0.5).floor_(),
            _ => Luma(clips),
        };
        return (from + (factor * (clips - from))).clamp_(0, 255).floor_();
    }

    private static Tensor Luma(Tensor clips) =>
        (
            (clips.narrow(2, 0, 1) * 19595) + (clips.narrow(2, 1, 1) * 38470)
                + (clips.narrow(2, 2, 1) * 7471)).add_(32768).mul_(1.0 / 65536).floor_();

    /// <summary>As <see cref="ColorKernels"/> does it: 8-bit HSV and back without cases.</summary>
    private static Tensor ShiftHue(Tensor clips, Tensor shift)
    {
        var (r, g, b) = (clips.select(2, 0), clips.select(2, 1), clips.select(2, 2));
        var highest = clips.amax([2]);
        var lowest = clips.amin([2]);
        var range = highest - lowest;
        var x = (highest + highest - r - g - b + lowest) / range.clamp_min(1);
        var saturation = (range / highest.clamp_min(1)).mul_(255).floor_();
        var redHighest = r == highest;
        var greenHighest = g == highest;
        var rising = where(redHighest, g == lowest, where(greenHighest, b == lowest, r == lowest));
        var up = where(redHighest, -1f, where(greenHighest, 1f, full_like(r, 3f)));
        var sixths = where(rising, up + x, up + 2 - x);
        var hue = sixths / 6;
        hue = where(hue < 0, hue + 1, hue).mul_(255).floor_();
        hue = where(range == 0, 0f, hue) + shift;
        hue = where(hue < 256, hue, hue - 256);
        var turned = hue.mul_(6.0 / 255);
        var chroma = highest * saturation.mul_(1.0 / 255);
        Tensor Channel(int offset)
        {
            var k = turned + offset;
            k = where(k < 6, k, k - 6);
            return (highest + 0.5 - (chroma * minimum(k, 4 - k).clamp_(0, 1))).floor_();
        }

        return stack([Channel(5), Channel(3), Channel(1)], 2);
    }

    private static void Gray(Tensor images, ReadOnlySpan<ClipTransform> transforms)
    {
        var grays = Indices(transforms, t => !t.Gray.IsNone);
        if (grays.Length == 0)
        {
            return;
        }

        var length = (int)images.shape[1];
        var channels = new long[grays.Length * length];
        for (var i = 0; i < channels.Length; i++)
        {
            channels[i] = transforms[(int)grays[i / length]].Gray.Of(i % length);
        }

        var at = tensor(grays).SendTo(images.device);
        var clips = images.index_select(0, at);
        var kept = tensor(channels, [grays.Length, length, 1, 1, 1])
            .SendTo(images.device).expand(grays.Length, length, 1, images.shape[3], images.shape[4]);
        images.index_copy_(0, at, clips.gather(2, kept).expand_as(clips));
    }

    private static void Blur(Tensor images, ReadOnlySpan<ClipTransform> transforms)
    {
        var blurred = Indices(transforms, t => t.BlurSigma > 0);
        if (blurred.Length == 0)
        {
            return;
        }

        var size = (int)images.shape[4];
        var boxes = new float[blurred.Length * size * size];
        for (var i = 0; i < blurred.Length; i++)
        {
            WriteBox(ExtendedBox.ForSigma(transforms[(int)blurred[i]].BlurSigma), size, boxes.AsSpan(i * size * size, size * size));
        }

        var at = tensor(blurred).SendTo(images.device);
        var box = tensor(boxes, [blurred.Length, size, size]).SendTo(images.device).transpose(1, 2);
        var clips = images.index_select(0, at);
        var shape = clips.shape;
        for (var axis = 0; axis < 2; axis++)
        {
            var lines = clips.reshape(blurred.Length, -1, size);
            for (var pass = 0; pass < ExtendedBox.Passes; pass++)
            {
                lines = ToLevels(bmm(lines, box));
            }

            clips = lines.reshape(shape).transpose(3, 4);
        }

        images.index_copy_(0, at, clips);
    }

    private static void WriteBox(ExtendedBox box, int size, Span<float> matrix)
    {
        const float Unit = 1f / (1 << 24);
        for (var i = 0; i < size; i++)
        {
            var row = matrix.Slice(i * size, size);
            for (var j = i - box.Radius - 1; j <= i + box.Radius + 1; j++)
            {
                row[Math.Clamp(j, 0, size - 1)] += Math.Abs(i - j) <= box.Radius ? box.InnerWeight * Unit : box.EdgeWeight * Unit;
            }
        }
    }

    private static void Normalize(Tensor images, Tensor target)
    {
        var scale = tensor(new[] { Normalization.Scale(0), Normalization.Scale(1), Normalization.Scale(2) }, [3, 1, 1])
            .SendTo(images.device);
        var bias = tensor(new[] { Normalization.Bias(0), Normalization.Bias(1), Normalization.Bias(2) }, [3, 1, 1]).SendTo(images.device);
        target.copy_(images.mul_(scale).add_(bias).transpose(1, 2));
    }

    private static Tensor ToLevels(Tensor values) => values.add_(0.5).floor_().clamp_(0, 255);

    private static long[] Indices(ReadOnlySpan<ClipTransform> transforms, Predicate<ClipTransform> wanted)
    {
        var indices = new List<long>();
        for (var i = 0; i < transforms.Length; i++)
        {
            if (wanted(transforms[i]))
            {
                indices.Add(i);
            }
        }

        return [.. indices];
    }
}
