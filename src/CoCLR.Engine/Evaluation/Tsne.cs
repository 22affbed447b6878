// Why this exists: a map of features that keeps neighbours together; no library kept for .NET offers one, so this is a compact,
// deterministic t-SNE.
using CoCLR.Core;
using CoCLR.Engine.Features;

namespace CoCLR.Engine.Evaluation;

/// <summary>How a t-SNE map is made.</summary>
public sealed record TsneOptions
{
    /// <summary>Effective number of neighbours; lowered to (N - 1) / 3 for small sets.</summary>
    public double Perplexity { get; init; } = 30;

    /// <summary>Gradient steps; the first quarter, at most 250, with early exaggeration.</summary>
    public int Iterations { get; init; } = 750;

    /// <summary>Opening angle of the Barnes-Hut approximation; 0 is exact and quadratic.</summary>
    public double Theta { get; init; } = 0.5;

    /// <summary>Directions kept by PCA before distances are taken.</summary>
    public int PcaComponents { get; init; } = 50;
}

/// <summary>
/// t-SNE (van der Maaten and Hinton 2008) with the Barnes-Hut approximation (van der Maaten 2014), started from PCA (Kobak and Berens
/// 2019).
/// The same features give the same map, whatever the number of threads.
/// </summary>
public static class Tsne
{
    private const double Exaggeration = 12;

    /// <summary>Maps features to the plane.</summary>
    /// <param name="values">N x D features, row by row.</param>
    /// <param name="dimension">D.</param>
    /// <param name="options">How.</param>
    /// <param name="progress">Told the share done, in [0, 1].</param>
    /// <param name="cancellationToken">Stops between steps.</param>
    /// <returns>N x 2 coordinates.</returns>
    /// <exception cref="UserErrorException">A feature is NaN or infinite (65).</exception>
    public static double[] Project(
        float[] values,
        int dimension,
        TsneOptions? options = null,
        IProgress<double>? progress = null,
        CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(values);
        options ??= new TsneOptions();
        var count = dimension == 0 ? 0 : values.Length / dimension;
        FeatureSet.RequireFinite(values, Math.Max(1, dimension), row => $"feature {row}");
        if (count == 0)
        {
            return [];
        }

        var (reduced, explained) = PrincipalComponents.Project(values, dimension, options.PcaComponents);
        var position = Start(reduced, explained.Length, count);
        if (count < 4)
        {
            return position;
        }

        var graph = Affinities(reduced, explained.Length, count, Math.Min(options.Perplexity, (count - 1) / 3.0), cancellationToken);
        var exaggerated = Math.Min(250, options.Iterations / 4);
        var rate = Math.Max(50, count / Exaggeration / 4);
        var (velocity, gain, gradient) = (new double[2 * count], new double[2 * count], new double[2 * count]);
        Array.Fill(gain, 1);
        var tree = new QuadTree(count);
        for (var iteration = 0; iteration < options.Iterations; iteration++)
        {
            cancellationToken.ThrowIfCancellationRequested();
            var early = iteration < exaggerated;
            Gradient(graph, position, tree, options.Theta, early ? Exaggeration : 1, gradient);
            var momentum = early ? 0.5 : 0.8;
            for (var i = 0; i < position.Length; i++)
            {
                // Steps grow where the direction stays and shrink where it turns (Jacobs 1988), as in the original program.
                gain[i] = Math.Max(0.01, Math.Sign(gradient[i]) == Math.Sign(velocity[i]) ? gain[i] * 0.8 : gain[i] + 0.2);
                velocity[i] = (momentum * velocity[i]) - (rate * gain[i] * gradient[i]);
                position[i] += velocity[i];
            }

            Centre(position, count);
            progress?.Report((iteration + 1.0) / options.Iterations);
        }

        return position;
    }

    // The two first components, small enough that all forces begin alike.
    private static double[] Start(float[] reduced, int components, int count)
    {
        var position = new double[2 * count];
        var square = 0.0;
        for (var i = 0; i < count; i++)
        {
            position[2 * i] = reduced[i * components];
            position[(2 * i) + 1] = components > 1 ? reduced[(i * components) + 1] : 0;
            square += position[2 * i] * position[2 * i];
        }

        var scale = square > 0 ? 1e-4 / Math.Sqrt(square / count) : 0;
        for (var i = 0; i < position.Length; i++)
        {
            position[i] *= scale;
        }

        return position;
    }

    private static void Centre(double[] position, int count)
    {
        var (x, y) = (0.0, 0.0);
        for (var i = 0; i < count; i++)
        {
            x += position[2 * i];
            y += position[(2 * i) + 1];
        }

        for (var i = 0; i < count; i++)
        {
            position[2 * i] -= x / count;
            position[(2 * i) + 1] -= y / count;
        }
    }

    // p_ij among the nearest neighbours (three perplexities of them), symmetric, adding up to one.
    private static Graph Affinities(float[] values, int dimension, int count, double perplexity, CancellationToken cancellationToken)
    {
        var neighbours = Math.Min(count - 1, (int)Math.Ceiling(3 * perplexity));

        // Nearest by distance is largest by dot product once -|x|^2 / 2 stands beside x and 1 beside the query.
        var wide = dimension + 1;
        var (gallery, queries) = (new float[count * wide], new float[count * wide]);
        for (var i = 0; i < count; i++)
        {
            var row = values.AsSpan(i * dimension, dimension);
            row.CopyTo(gallery.AsSpan(i * wide));
            row.CopyTo(queries.AsSpan(i * wide));
            var square = 0.0;
            foreach (var value in row)
            {
                square += (double)value * value;
            }

            gallery[(i * wide) + dimension] = (float)(-square / 2);
            queries[(i * wide) + dimension] = 1;
        }

        using var search = new ExactSearch(gallery, wide);
        var hits = search.Search(queries, neighbours + 1);
        cancellationToken.ThrowIfCancellationRequested();
        var rows = new (int Other, double P)[count][];
        Parallel.For(0, count, i =>
        {
            int[] others = [.. hits[i].Where(h => h.Index != i).Take(neighbours).Select(h => h.Index)];
            var distances = Array.ConvertAll(others, j => SquaredDistance(values, dimension, i, j));
            var p = Calibrate(distances, perplexity);
            rows[i] = [.. others.Select((j, n) => (j, p[n]))];
        });

        var both = new List<(int Other, double P)>[count];
        for (var i = 0; i < count; i++)
        {
            both[i] = new List<(int, double)>(2 * neighbours);
        }

        for (var i = 0; i < count; i++)
        {
            foreach (var (other, p) in rows[i])
            {
                both[i].Add((other, p / (2.0 * count)));
                both[other].Add((i, p / (2.0 * count)));
            }
        }

        return new Graph([.. both.Select(list => list.ToArray())]);
    }

    private static double SquaredDistance(float[] values, int dimension, int i, int j)
    {
        var sum = 0.0;
        for (var d = 0; d < dimension; d++)
        {
            var difference = (double)values[(i * dimension) + d] - values[(j * dimension) + d];
            sum += difference * difference;
        }

        return sum;
    }

    // The width of the Gaussian around a point that gives its neighbours the wanted perplexity.
    private static double[] Calibrate(double[] squaredDistances, double perplexity)
    {
        var target = Math.Log(perplexity);
        var nearest = squaredDistances.Min();
        var (low, high, beta) = (0.0, double.PositiveInfinity, 1 / Math.Max(squaredDistances.Average() - nearest, 1e-12));
        var p = new double[squaredDistances.Length];
        for (var round = 0; round < 64; round++)
        {
            var (sum, weighted) = (0.0, 0.0);
            for (var n = 0; n < p.Length; n++)
            {
                p[n] = Math.Exp(-beta * (squaredDistances[n] - nearest));
                sum += p[n];
                weighted += p[n] * (squaredDistances[n] - nearest);
            }

            var entropy = Math.Log(sum) + (beta * weighted / sum);
            for (var n = 0; n < p.Length; n++)
            {
                p[n] /= sum;
            }

            if (Math.Abs(entropy - target) < 1e-6)
            {
                break;
            }

            if (entropy > target)
            {
                low = beta;
                beta = double.IsPositiveInfinity(high) ? beta * 2 : (beta + high) / 2;
            }
            else
            {
                high = beta;
                beta = (beta + low) / 2;
            }
        }

        return p;
    }

    // dC/dy_i = 4 sum_j (p_ij - q_ij) (y_i - y_j) / (1 + |y_i - y_j|^2)
    private static void Gradient(Graph graph, double[] position, QuadTree tree, double theta, double exaggeration, double[] gradient)
    {
        tree.Build(position);
        var count = position.Length / 2;
        var norms = new double[count];
        var attraction = new double[2 * count];
        Parallel.For(0, count, i =>
        {
            var (x, y) = (position[2 * i], position[(2 * i) + 1]);
            (gradient[2 * i], gradient[(2 * i) + 1], norms[i]) = tree.Repulsion(i, x, y, theta);
            var (ax, ay) = (0.0, 0.0);
            foreach (var (other, p) in graph.Rows[i])
            {
                var (dx, dy) = (x - position[2 * other], y - position[(2 * other) + 1]);
                var pull = p / (1 + (dx * dx) + (dy * dy));
                ax += pull * dx;
                ay += pull * dy;
            }

            (attraction[2 * i], attraction[(2 * i) + 1]) = (ax, ay);
        });

        // Added in order, so that the number of threads does not show.
        var norm = 0.0;
        foreach (var part in norms)
        {
            norm += part;
        }

        for (var i = 0; i < gradient.Length; i++)
        {
            gradient[i] = 4 * ((exaggeration * attraction[i]) - (gradient[i] / Math.Max(norm, double.Epsilon)));
        }
    }

    private sealed record Graph((int Other, double P)[][] Rows);

    /// <summary>Points of the plane in nested squares, each with its number of points and their mean.</summary>
    private sealed class QuadTree(int points)
    {
        // Points closer than 2^-40 of the picture are taken as one.
        private const int MaxDepth = 40;
        private readonly int[] _leaf = new int[points];
        private readonly int[] _nextInLeaf = new int[points];
        private int[] _child = new int[16 * points];
        private int[] _firstInLeaf = new int[4 * points];
        private int[] _mass = new int[4 * points];
        private double[] _x = new double[4 * points];
        private double[] _y = new double[4 * points];
        private double[] _width = new double[4 * points];
        private int _nodes;

        public void Build(double[] position)
        {
            var (minX, minY, maxX, maxY) = (double.MaxValue, double.MaxValue, double.MinValue, double.MinValue);
            for (var i = 0; i < points; i++)
            {
                (minX, maxX) = (Math.Min(minX, position[2 * i]), Math.Max(maxX, position[2 * i]));
                (minY, maxY) = (Math.Min(minY, position[(2 * i) + 1]), Math.Max(maxY, position[(2 * i) + 1]));
            }

            _nodes = 0;
            var width = Math.Max(Math.Max(maxX - minX, maxY - minY), double.Epsilon) * (1 + 1e-9);
            NewNode(width);
            for (var i = 0; i < points; i++)
            {
                Insert(i, position, minX, minY, width);
            }

            for (var node = 0; node < _nodes; node++)
            {
                _x[node] /= _mass[node];
                _y[node] /= _mass[node];
            }
        }

        public (double X, double Y, double Norm) Repulsion(int point, double x, double y, double theta)
        {
            Span<int> stack = stackalloc int[(3 * MaxDepth) + 8];
            var depth = 0;
            stack[depth++] = 0;
            var (forceX, forceY, norm) = (0.0, 0.0, 0.0);
            while (depth > 0)
            {
                var node = stack[--depth];
                var (dx, dy) = (x - _x[node], y - _y[node]);
                var square = (dx * dx) + (dy * dy);
                var leaf = _child[4 * node] < 0;
                if (leaf || _width[node] * _width[node] < theta * theta * square)
                {
                    var mass = leaf && _leaf[point] == node ? _mass[node] - 1 : _mass[node];
                    var q = 1 / (1 + square);
                    norm += mass * q;
                    forceX += mass * q * q * dx;
                    forceY += mass * q * q * dy;
                    continue;
                }

                for (var quarter = 3; quarter >= 0; quarter--)
                {
                    var child = _child[(4 * node) + quarter];
                    if (_mass[child] > 0)
                    {
                        stack[depth++] = child;
                    }
                }
            }

            return (forceX, forceY, norm);
        }

        private void Insert(int point, double[] position, double left, double top, double width)
        {
            var (x, y) = (position[2 * point], position[(2 * point) + 1]);
            var node = 0;
            for (var depth = 0; ; depth++)
            {
                if (_child[4 * node] < 0)
                {
                    var first = _firstInLeaf[node];
                    if (first < 0 || depth >= MaxDepth || (position[2 * first] == x && position[(2 * first) + 1] == y))
                    {
                        Add(node, x, y);
                        (_leaf[point], _nextInLeaf[point], _firstInLeaf[node]) = (node, first, point);
                        return;
                    }

                    Divide(node, position, left, top, width);
                }

                Add(node, x, y);
                width /= 2;
                var quarter = Quarter(x, y, left, top, width);
                left += (quarter & 1) * width;
                top += (quarter >> 1) * width;
                node = _child[(4 * node) + quarter];
            }
        }

        // A leaf holds points of one place only, so all of them move to the same quarter.
        private void Divide(int node, double[] position, double left, double top, double width)
        {
            if (_nodes + 4 > _mass.Length)
            {
                Array.Resize(ref _child, 2 * _child.Length);
                Array.Resize(ref _firstInLeaf, 2 * _firstInLeaf.Length);
                Array.Resize(ref _mass, 2 * _mass.Length);
                Array.Resize(ref _x, 2 * _x.Length);
                Array.Resize(ref _y, 2 * _y.Length);
                Array.Resize(ref _width, 2 * _width.Length);
            }

            for (var quarter = 0; quarter < 4; quarter++)
            {
                _child[(4 * node) + quarter] = NewNode(width / 2);
            }

            var first = _firstInLeaf[node];
            var target = _child[(4 * node) + Quarter(position[2 * first], position[(2 * first) + 1], left, top, width / 2)];
            (_mass[target], _x[target], _y[target], _firstInLeaf[target]) = (_mass[node], _x[node], _y[node], first);
            for (var point = first; point >= 0; point = _nextInLeaf[point])
            {
                _leaf[point] = target;
            }
        }

        private int NewNode(double width)
        {
            var node = _nodes++;
            _child.AsSpan(4 * node, 4).Fill(-1);
            (_mass[node], _x[node], _y[node], _width[node], _firstInLeaf[node]) = (0, 0, 0, width, -1);
            return node;
        }

        private void Add(int node, double x, double y)
        {
            _mass[node]++;
            _x[node] += x;
            _y[node] += y;
        }

        private static int Quarter(double x, double y, double left, double top, double half) =>
            (x >= left + half ? 1 : 0) | (y >= top + half ? 2 : 0);
    }
}
