// Why this exists: file names and ffmpeg's output may hold line breaks and control characters; messages are one short line.
using System.Text;

namespace CoCLR.Engine.Video.Catalogue;

internal static class MessageText
{
    public static string OneLine(string text, int longest)
    {
        var line = new StringBuilder(Math.Min(text.Length, longest + 3));
        foreach (var letter in text)
        {
            if (line.Length >= longest)
            {
                line.Append("...");
                break;
            }

            line.Append(char.IsControl(letter) ? ' ' : letter);
        }

        return line.ToString().Trim();
    }
}
