//! Names for containers that got none: an adjective and a scientist, `gentle_noether`.

use fault::Result;

/// A random one; the caller tries again while it is taken.
pub(crate) fn random() -> Result<String> {
    let mut bytes = [0; 4];
    crate::id::random(&mut bytes)?;
    let [a, b, c, d] = bytes.map(usize::from);
    let adjective = ADJECTIVES[(a << 8 | b) % ADJECTIVES.len()];
    let scientist = SCIENTISTS[(c << 8 | d) % SCIENTISTS.len()];
    Ok(format!("{adjective}_{scientist}"))
}

const ADJECTIVES: &[&str] = &[
    "able", "agile", "airy", "alert", "ample", "amused", "apt", "ardent", "artful", "avid", "awake", "balmy",
    "blithe", "bold", "brave", "breezy", "brief", "bright", "brisk", "calm", "candid", "careful", "casual",
    "cheerful", "chief", "civil", "clean", "clear", "clever", "close", "coastal", "cool", "cordial", "cosy",
    "crisp", "curious", "dapper", "daring", "deep", "deft", "direct", "distant", "dreamy", "dry", "dutiful",
    "eager", "earnest", "easy", "even", "exact", "fabled", "fair", "famous", "fancy", "fast", "fearless", "festive",
    "fine", "firm", "fluent", "fond", "frank", "free", "fresh", "frosty", "frugal", "gentle", "genuine", "gifted",
    "glad", "golden", "graceful", "grand", "grateful", "handy", "happy", "hardy", "hasty", "hearty", "helpful",
    "honest", "humble", "ideal", "jaunty", "jolly", "jovial", "joyful", "keen", "kind", "lasting", "lively", "loyal",
    "lucid", "lucky", "magnetic", "mellow", "merry", "mighty", "mild", "modest", "musing", "nautical", "neat",
    "nimble", "noble", "nordic", "novel", "open", "orderly", "patient", "peaceful", "placid", "playful", "pleasant",
    "poetic", "polite", "prompt", "proud", "prudent", "punctual", "quick", "quiet", "radiant", "rapid", "ready",
    "robust", "rosy", "rustic", "sage", "salty", "scenic", "serene", "sharp", "shining", "shy", "silent", "sincere",
    "sleek", "smart", "smiling", "smooth", "snug", "sober", "solid", "spirited", "splendid", "spry", "stable",
    "stately", "steady", "stellar", "still", "stoic", "stout", "sturdy", "subtle", "sunny", "sure", "swift",
    "tactful", "tender", "thankful", "thorough", "thrifty", "tidal", "tidy", "tough", "tranquil", "trusty", "upbeat",
    "upright", "valiant", "vast", "vital", "vivid", "warm", "watchful", "wide", "willing", "windy", "wise", "witty",
    "worthy", "young", "zesty",
];

const SCIENTISTS: &[&str] = &[
    "abel", "agnesi", "alhazen", "ampere", "anning", "archimedes", "aristarchus", "avogadro", "babbage", "banach",
    "bardeen", "bassi", "becquerel", "bernoulli", "bessel", "blackwell", "bohr", "boltzmann", "boole", "born",
    "bose", "boyle", "brahe", "braun", "cannon", "cantor", "carnot", "carson", "cartwright", "cauchy", "cavendish",
    "chandrasekhar", "chatelet", "chebyshev", "church", "clausius", "compton", "copernicus", "coulomb", "cori",
    "curie", "cuvier", "dalton", "darwin", "dedekind", "descartes", "dijkstra", "dirac", "doppler", "eddington",
    "einstein", "elion", "engelbart", "erdos", "euclid", "euler", "fahrenheit", "faraday", "fermat", "fermi",
    "feynman", "fibonacci", "fleming", "foucault", "fourier", "franklin", "fraunhofer", "fresnel", "galileo",
    "galois", "galvani", "gauss", "germain", "gibbs", "goedel", "goeppert", "goodall", "haber", "hahn", "halley",
    "hamilton", "heaviside", "heisenberg", "helmholtz", "herschel", "hertz", "hevelius", "hilbert", "hipparchus",
    "hodgkin", "hooke", "hopper", "hubble", "humboldt", "hutton", "huygens", "hypatia", "jacobi", "jenner", "joule",
    "kelvin", "kepler", "khayyam", "kirchhoff", "klein", "koch", "kolmogorov", "kovalevskaya", "lagrange", "lamarr",
    "landau", "laplace", "lavoisier", "leavitt", "leeuwenhoek", "legendre", "leibniz", "lie", "linnaeus",
    "lobachevsky", "lorentz", "lovelace", "lyell", "mach", "markov", "maxwell", "mcclintock", "meitner", "mendel",
    "mendeleev", "mercator", "michelson", "mirzakhani", "mitchell", "moebius", "napier", "nash", "nernst", "newton",
    "nightingale", "nobel", "noether", "ohm", "oppenheimer", "ostrom", "pascal", "pasteur", "pauli", "pauling",
    "payne", "peano", "penrose", "perey", "planck", "poincare", "poisson", "ptolemy", "pythagoras", "ramanujan",
    "raman", "ramsay", "rayleigh", "riemann", "ritchie", "roentgen", "rubin", "rutherford", "sagan", "salam",
    "schrodinger", "shannon", "snell", "somerville", "stokes", "sutherland", "tartaglia", "tesla", "thales",
    "torricelli", "tu", "turing", "vesalius", "viete", "virchow", "volta", "wallis", "watt", "weber", "wegener",
    "weyl", "wiener", "wilkins", "wu", "yalow", "yonath", "young", "yukawa", "zuse",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_an_adjective_and_a_scientist() {
        let name = random().unwrap();
        let (adjective, scientist) = name.split_once('_').unwrap();
        assert!(ADJECTIVES.contains(&adjective) && SCIENTISTS.contains(&scientist));
    }

    #[test]
    fn every_word_can_stand_in_a_name_and_stands_once() {
        for words in [ADJECTIVES, SCIENTISTS] {
            assert!(words.iter().all(|word| word.bytes().all(|byte| byte.is_ascii_lowercase())));
            let unique: std::collections::BTreeSet<_> = words.iter().collect();
            assert_eq!(unique.len(), words.len());
        }
    }
}
