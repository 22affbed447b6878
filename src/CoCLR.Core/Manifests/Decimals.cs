// Why this exists: specs hold decimal numbers as strings (Kubernetes allows no floats); this is the one place that reads them.
using System.Globalization;

namespace CoCLR.Core.Manifests;

/// <summary>Reads decimal strings of a spec.</summary>
public static class Decimals
{
    /// <summary>The value of a decimal string such as "0.001" or "1e-5".</summary>
    /// <param name="text">A string that matches <see cref="DecimalStringAttribute.Pattern"/>.</param>
    /// <exception cref="FormatException">It is no decimal number.</exception>
    public static double Parse(string text) => double.Parse(
        text, NumberStyles.AllowLeadingSign | NumberStyles.AllowDecimalPoint | NumberStyles.AllowExponent, CultureInfo.InvariantCulture);
}
